"""Every rule that a result must keep before it may leave, in the order in which they are asked."""

from node.domain.delivery import ResultKind
from workers.results.check import (
    attributes,
    comparison,
    file,
    findings,
    heat,
    identity,
    marks,
    page,
    references,
    report,
    segmentation,
    values,
)
from workers.results.check.rules import Rule

_SEG, _SR = frozenset({ResultKind.SEG}), frozenset({ResultKind.SR})
_TOLD, _DRAWN = frozenset({ResultKind.SR, ResultKind.SC}), frozenset({ResultKind.SEG, ResultKind.SC})
_TREE = frozenset({ResultKind.SR, ResultKind.KOS})
_POINTING = frozenset({ResultKind.KOS, ResultKind.GSPS, ResultKind.PM})
_KOS, _GSPS, _PDF = frozenset({ResultKind.KOS}), frozenset({ResultKind.GSPS}), frozenset({ResultKind.PDF})
_PM = frozenset({ResultKind.PM})
_LINKED = frozenset({ResultKind.SEG, ResultKind.SR})

RULES = (
    Rule("parses", "The file can be read to its end, and every text be decoded.", file.unreadable, is_first=True),
    Rule(
        "no-empty-segmentation",
        "A reading without findings has no segmentation.",
        file.unasked_segmentation,
        is_first=True,
    ),
    Rule(
        "nothing-to-mark",
        "A reading without findings has no marks, no selection and no heat.",
        marks.nothing_to_mark,
        _POINTING,
        is_first=True,
    ),
    Rule("own-uids", "Class and UIDs are those that derive from the reading.", file.wrong_identity),
    Rule("file-meta", "The file meta names the class, UID and syntax of the data set.", file.wrong_meta),
    Rule("type-1", "What the modules of its IOD require is there and not empty.", attributes.unfilled),
    Rule("type-2", "What the modules of its IOD want to be there is there.", attributes.missing),
    Rule("values", "Values have the length and the characters that their VR allows.", values.not_allowed),
    Rule("patient-and-study", "Patient and study are those of the images.", identity.other_patient_or_study),
    Rule("character-set", "It is written in the images' character set or in Unicode.", identity.other_character_set),
    Rule("references", "It refers only to images of the reading and results of it.", references.to_strangers),
    Rule("reference-classes", "What it refers to has the class that it says.", references.of_other_class),
    Rule("evidence", "All that was read, and the segmentation, is listed.", references.not_listed, _LINKED),
    Rule("predecessor", "It names the report that it replaces, and no other.", references.no_successor, _SR),
    Rule("content-items", "Each content item has relationship, name and value.", attributes.incomplete_items, _TREE),
    Rule("tid-1500", "It is an Imaging Measurement Report by TID 1500.", report.not_tid_1500, _SR),
    Rule(
        "language", "It is in the language of the settings, says so, and names codes in it.", report.other_language, _SR
    ),
    Rule("observer", "The observer is this installation, a device.", report.no_device, _SR),
    Rule("unverified", "The report is preliminary, complete and unverified.", report.passes_for_verified, _SR),
    Rule("title", "It says that AI made it, and NOT ANALYSED where nothing was read.", report.other_title),
    Rule("summary-code", "The summary says how the reading ended.", report.other_summary, _SR),
    Rule("limitations", "Each limitation or reason is told.", report.limits_unsaid, _SR),
    Rule("nothing-unread", "Where nothing was read nothing is found.", report.finds_something_unread, _SR),
    Rule(
        "no-false-negative", "Only a whole reading says that there is nothing.", report.negative_without_reason, _TOLD
    ),
    Rule("negative", "A whole reading without findings says so and names none.", report.negative_unsaid, _SR),
    Rule("count", "As many nodules are reported as were found.", report.other_count, _SR),
    Rule("headline", "The first sentence counts the nodules that were found.", report.other_headline, _TOLD),
    Rule("report-tracking", "The report names each nodule by its identifier and UID.", findings.other_tracking, _SR),
    Rule("referenced-segment", "Each nodule refers to its own segment.", findings.other_segment, _SR),
    Rule("kind", "Composition and side are those of the finding.", findings.other_kind, _SR),
    Rule("measurements", "Measurements are those of the finding.", findings.other_values, _SR),
    Rule("units", "Measurements have their units: mm, mm3, HU.", findings.other_units, _SR),
    Rule("outline", "The outline is the finding's, on its key image.", findings.other_outline, _SR),
    Rule("solid-part", "A solid part is that of its nodule, on its key image.", findings.other_solid_part, _SR),
    Rule("change", "What became of each nodule is as it was compared.", comparison.other_change, _SR),
    Rule("earlier-exam", "Each sentence on an earlier exam is told, and no other.", comparison.unsaid, _SR),
    Rule("earlier-images", "Images that were compared are listed, and no others.", comparison.other_evidence, _SR),
    Rule("sane-sizes", "Sizes are those that a nodule can have.", findings.not_sane, _SR),
    Rule("pixel-length", "Pixel data are as long as they say, and not blank.", segmentation.wrong_length, _DRAWN),
    Rule("segments", "There is one segment a finding, numbered from 1.", segmentation.other_segments, _SEG),
    Rule("segment-tracking", "A segment has the identifier and UID of its nodule.", segmentation.other_tracking, _SEG),
    Rule("space", "Matrix, directions and spacing are the images'.", segmentation.other_space, _SEG),
    Rule("frames-on-slices", "Frames lie on the slices they were drawn on.", segmentation.off_the_slices, _SEG),
    Rule("empty-frames", "No frame is empty.", segmentation.empty_frames, _SEG),
    Rule("voxels", "Each voxel is where the mask has it.", segmentation.other_voxels, _SEG),
    Rule("selection", "Exactly the key images and these results are selected.", marks.other_selection, _KOS),
    Rule("presentation", "Key images are shown in HU and a lung window.", marks.other_presentation, _GSPS),
    Rule("marks", "Each nodule is circled and labelled, on its key image.", marks.other_marks, _GSPS),
    Rule("one-page", "The document is one page, and nothing in it acts.", page.no_page, _PDF),
    Rule("page-text", "The page says all that a reader must know.", page.unsaid, _PDF),
    Rule("page-outcome", "The page cannot be taken for one of another outcome.", page.taken_for_another, _PDF),
    Rule("research", "Heat is for research, and names its creator.", heat.not_for_research, _PM),
    Rule("heat-space", "Heat lies on the detector's grid, in the images' space.", heat.other_space, _PM),
    Rule("scores", "Each score is where the detector said it.", heat.other_scores, _PM),
)

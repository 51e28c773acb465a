"""What a report says: its frame, how the reading ended, and as many nodules as were found."""

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.sr.coding import Code

from node.domain.delivery import ResultKind
from node.domain.outcome import Outcome
from workers.results import codes as c
from workers.results.check import tree
from workers.results.check.rules import Object
from workers.results.check.words import WORDS, Words, negatives
from workers.results.document import device_uid
from workers.results.language import TAGS

NOT_ANALYSED = "NOT ANALYSED"
"""In the description of a series, which is for machines, too: never translated."""


def _words(of: Object) -> Words:
    return WORDS[of.request.style.language]


def not_tid_1500(of: Object) -> Iterator[str]:
    """An Imaging Measurement Report with its measurements (PS3.16 TID 1500)."""
    root = of.dataset
    templates = root.get("ContentTemplateSequence") or [Dataset()]
    if (templates[0].get("MappingResource"), templates[0].get("TemplateIdentifier")) != ("DCMR", "1500"):
        yield "template"
    if (root.get("ValueType"), tree.key_in(root, "ConceptNameCodeSequence")) != ("CONTAINER", tree.key(tree.ROOT)):
        yield "title"
    if len(tree.children(root, tree.IMAGING_MEASUREMENTS)) != 1:
        yield "Imaging Measurements"
    if not tree.children(root, c.COMMENT):
        yield "Comment"
    procedures = tree.children(root, tree.PROCEDURE_REPORTED)
    if not procedures or tree.key_in(procedures[0], "ConceptCodeSequence") != tree.key(c.PROCEDURE_REPORTED):
        yield "Procedure reported"


def other_language(of: Object) -> Iterator[str]:
    """TID 1204, and the meaning of each code as the table has it in that language."""
    told = [tree.key_in(each, "ConceptCodeSequence") for each in tree.children(of.dataset, tree.LANGUAGE)]
    if told != [tree.key(TAGS[of.request.style.language])]:
        yield "Language"
    for each in of.elements:
        in_tree = each.path[0] in ("ContentSequence", "ConceptNameCodeSequence")
        if each.path[-1] == "CodeMeaning" and in_tree and each.element.value != of.request.say.meaning(each.parent):
            yield str(each.parent.get("CodeValue"))


def no_device(of: Object) -> Iterator[str]:
    """This installation observed it, and no person (TID 1002, 1004)."""
    types = [tree.key_in(each, "ConceptCodeSequence") for each in tree.children(of.dataset, tree.OBSERVER_TYPE)]
    if types != [tree.key(tree.DEVICE)]:
        yield "Observer Type"
    uids = [each.get("UID") for each in tree.children(of.dataset, tree.DEVICE_UID)]
    if uids != [device_uid(of.request)]:
        yield "Device Observer UID"


FLAGS = {"PreliminaryFlag": "PRELIMINARY", "CompletionFlag": "COMPLETE", "VerificationFlag": "UNVERIFIED"}


def passes_for_verified(of: Object) -> Iterator[str]:
    """No person has looked at it yet."""
    yield from (keyword for keyword, value in FLAGS.items() if of.dataset.get(keyword) != value)
    if of.dataset.get("VerifyingObserverSequence"):
        yield "VerifyingObserverSequence"


def other_summary(of: Object) -> Iterator[str]:
    """CID 6047 says how the reading ended."""
    wanted = tree.key(c.summary_code(of.request.conclusion.outcome, bool(of.request.findings)))
    told = [
        tree.key_in(each, "ConceptCodeSequence")
        for group in tree.groups(of)
        for each in tree.children(group, c.ALGORITHMS_SUMMARY)
    ]
    if told != [wanted]:
        yield "CAD Processing and Findings Summary"


def limits_unsaid(of: Object) -> Iterator[str]:
    """Each limitation, or the reason why nothing was read, in a sentence for people."""
    told = "\n".join(tree.comments(of))
    for number, sentence in enumerate(of.request.conclusion.limitations, 1):
        if of.request.say.of(sentence).strip() not in told:
            yield f"limitation {number}"


def other_title(of: Object) -> Iterator[str]:
    """Made by AI, and perhaps in shadow; where nothing was read, series and first sentence say so, and only there."""
    title, unread = str(of.dataset.get("SeriesDescription", "")), of.request.conclusion.outcome is Outcome.NOT_ANALYSED
    begin = "SHADOW AI " if of.request.shadow else "AI "
    if not title.startswith(begin) or (NOT_ANALYSED in title) != unread:
        yield "SeriesDescription"
    if of.encoded.kind is ResultKind.SR and (_words(of).not_analysed in tree.first_sentence(of)) != unread:
        yield "first Comment"


def finds_something_unread(of: Object) -> Iterator[str]:
    """A report that nothing was read holds nothing that could be taken for a finding, or for a count of none."""
    if of.request.conclusion.outcome is not Outcome.NOT_ANALYSED:
        return
    for code in (tree.FINDING, tree.REFERENCED_SEGMENT, tree.IMAGE_REGION, c.NUMBER_OF_FINDINGS, c.DIAMETER):
        if any(tree.below(of.dataset, code)):
            yield code.meaning


def negative_without_reason(of: Object) -> Iterator[str]:
    """Only a whole reading without findings may say that there is nothing."""
    outcome = of.request.conclusion.outcome
    texts = [str(of.dataset.get("ImageComments", "")), *tree.comments(of)]
    for in_part in (each for text in texts for each in negatives(text)):
        if outcome is not Outcome.NO_FINDINGS and not (outcome is Outcome.PARTIAL and in_part):
            yield "words"
    codes = {tree.key_in(each, "ConceptCodeSequence") for each in tree.below(of.dataset, c.NODULE_OF_LUNG)}
    if outcome is not Outcome.NO_FINDINGS and tree.key(c.ABSENT) in codes:
        yield c.NODULE_OF_LUNG.meaning
    if outcome in (Outcome.PARTIAL, Outcome.NOT_ANALYSED) and _names(of, tree.LUNG_RADS_1):
        yield tree.LUNG_RADS_1.meaning


def _names(of: Object, code: Code) -> bool:
    return any(each.path[-1] == "CodeValue" and each.element.value == code.value for each in of.elements)


def negative_unsaid(of: Object) -> Iterator[str]:
    """A whole reading without findings says it in a code, and names no finding."""
    if of.request.conclusion.outcome is Outcome.NO_FINDINGS:
        told = [tree.key_in(each, "ConceptCodeSequence") for each in tree.below(of.dataset, c.NODULE_OF_LUNG)]
        if told != [tree.key(c.ABSENT)]:
            yield c.NODULE_OF_LUNG.meaning
        if any(tree.below(of.dataset, tree.FINDING)):
            yield tree.FINDING.meaning


def other_count(of: Object) -> Iterator[str]:
    """As many groups as findings, on segments and, if wanted, on images, and as solid parts that were measured; the
    number, where it is told, is that of the findings."""
    count, whole = len(of.request.findings), not of.request.more_findings
    outlined = count if of.request.style.outlines else 0
    for name, found, wanted in (
        ("segments", tree.on_segments(of), count),
        ("images", tree.on_images(of), outlined),
        ("solid parts", tree.on_solid_parts(of), len(of.request.solid_parts)),
    ):
        if len(found) != wanted:
            yield f"groups on {name}"
    if of.request.conclusion.outcome is Outcome.NOT_ANALYSED:
        return
    numbers = [
        float(each.MeasuredValueSequence[0].NumericValue)
        for group in tree.examination(of)
        for each in tree.children(group, c.NUMBER_OF_FINDINGS)
    ]
    if numbers != ([float(count)] if whole else []):
        yield c.NUMBER_OF_FINDINGS.meaning


def other_headline(of: Object) -> Iterator[str]:
    """The first sentence counts what was found, as the codes do."""
    if of.request.conclusion.outcome is Outcome.NOT_ANALYSED:
        return
    first, words = tree.first_sentence(of), _words(of)
    told, count = words.count.match(first), len(of.request.findings)
    if not told or told[1] != (str(count) if count else None):
        yield "count"
    elif count and of.request.more_findings and words.at_least not in first:
        yield "at least"

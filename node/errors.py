"""Every exception we raise on purpose, drawn as a tree.

    NodusError
    ├── SettingsError        a setting, argument or file of the operator's is wrong
    ├── DataDirectoryInUse   a second node on one data directory
    ├── Unavailable          something that is needed is not there now
    ├── StoreRefused         an instance is not accepted; carries the DIMSE status
    ├── StepRefused          a request about a procedure step is not granted; carries the DIMSE status
    ├── PeerFailed           another node did not do its part; it may the next time
    │   └── NotTrusted       it did not prove who it is, or did not believe us
    ├── IllegalMove          a state machine was asked for a move it does not have
    ├── CatalogError         the database cannot do what was asked
    │   └── LeaseLost        another worker owns the job now: nothing may be saved
    └── AnalysisError        the pipeline cannot give an answer
        ├── BadInput         the images are the reason; trying again cannot help
        │   └── NotAChest    they do not show lungs: nobody waits for a reading of them
        ├── OutOfMemory      the machine is the reason; less at a time may help
        ├── WeightsError     model files are missing or not the recorded ones
        ├── ModelFailed      a model gave what is no answer: nothing is concluded from it
        └── RuleBroken       an encoded result is not what every result must be: nothing of its job may leave

    GiveWay                  no error: what is done ends for something better, past everybody who catches errors

The message of an exception is one sentence that says what is wrong and what to do.
It never holds a patient's name, id or accession number.
"""


class NodusError(Exception):
    """Something Nodus names; its text can be shown to an operator as it is."""


class SettingsError(NodusError):
    """A setting, argument or file of the operator's is wrong."""


class DataDirectoryInUse(NodusError):
    """A second node was started on one data directory."""


class Unavailable(NodusError):
    """Something that is needed is not there now."""


class StoreRefused(NodusError):
    """An instance is not accepted; `status` is the C-STORE status to answer with (PS3.4 Table B.2-1)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StepRefused(NodusError):
    """A request about a procedure step is not granted; `status` is what to answer with (PS3.4 CC.2)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class PeerFailed(NodusError):
    """Another node did not do its part; it may the next time."""


class NotTrusted(PeerFailed):
    """Another node did not prove who it is, or did not believe that we are we."""


class IllegalMove(NodusError):
    """A state machine was asked for a move that its table does not have."""


class CatalogError(NodusError):
    """The database cannot do what was asked."""


class LeaseLost(CatalogError):
    """Another worker owns the job now: nothing may be saved."""


class GiveWay(BaseException):
    """A reading waits for the worker that is busy with a shadow reading."""


class AnalysisError(NodusError):
    """The pipeline cannot give an answer."""


class BadInput(AnalysisError):
    """The images are the reason; trying again cannot help."""


class NotAChest(BadInput):
    """The images do not show lungs: nobody waits for a reading of them."""


class OutOfMemory(AnalysisError):
    """The machine is the reason; less at a time may help."""


class WeightsError(AnalysisError):
    """Model files are missing or are not the recorded ones."""


class ModelFailed(AnalysisError):
    """A model gave what is no answer: nothing is concluded from it."""


class RuleBroken(AnalysisError):
    """An encoded result is not what every result must be: nothing of its job may leave."""

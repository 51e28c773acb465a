"""A patient whose name, id and accession number must be found nowhere but where they belong."""

NAME, ID, ACCESSION = "Zqsentinel^Maria", "ZQ4711ID", "ZQ4711ACC"
BIRTH_DATE = "18840229"
SENTINELS = ("zqsentinel", "zq4711", BIRTH_DATE)
PATIENT = {
    "PatientName": NAME,
    "PatientID": ID,
    "AccessionNumber": ACCESSION,
    "PatientBirthDate": BIRTH_DATE,
    "OtherPatientIDs": "ZQ4711OTHER",
    "PatientAddress": "1 Zqsentinel Street",
    "ReferringPhysicianName": "Zqsentinel^Doctor",
}


def sentinels_in(text: str) -> list[str]:
    """Each with what stands around it."""
    lower = text.lower()
    return [lower[max(0, lower.find(each) - 80) :][:200] for each in SENTINELS if each in lower]

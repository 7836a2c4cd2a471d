"""Reads reports with Python's mail parser: no defects, and the fields where they belong."""

import email
import email.errors
import email.policy
import sys

for path in sys.argv[1:]:
    with open(path, "rb") as file:
        data = file.read()
    # compat32 parses delivery-status into its blocks; the modern policy checks the fields.
    modern = email.message_from_string(data.decode(), policy=email.policy.SMTPUTF8)
    for name in ("Date", "From", "To", "Subject", "Message-ID", "Content-Type"):
        value = modern[name]
        assert value, f"{path}: no {name}"
        # Python reads an address beyond ASCII (RFC 6531) and calls it a defect all the same.
        defects = [d for d in value.defects if not isinstance(d, email.errors.NonASCIILocalPartDefect)]
        assert not defects, f"{path}: {name}: {defects}"
    assert modern["Date"].datetime is not None, path
    assert len(modern["From"].addresses) == 1 and len(modern["To"].addresses) == 1, path
    # What the postmaster is told answers nobody.
    is_told = "postmaster" in path
    assert modern["Auto-Submitted"] == ("auto-generated" if is_told else "auto-replied"), path
    message = email.message_from_bytes(data)
    assert message.get_content_type() == "multipart/report", path
    assert message.get_param("report-type") == "delivery-status", path
    assert not any(part.defects for part in message.walk()), path
    human, status, returned = message.get_payload()
    text = human.get_payload(decode=True).decode(human.get_content_charset())
    assert "<" in text, path
    if status.get_content_type() == "message/delivery-status":
        blocks = status.get_payload()
    else:
        # Python knows only the ASCII form; the blocks are the same.
        raw = data.split(b"message/global-delivery-status", 1)[1].split(b"\r\n\r\n--", 1)[0]
        blocks = [email.message_from_bytes(block) for block in raw.split(b"\r\n\r\n")[1:]]
    assert blocks[0]["Reporting-MTA"] == "dns; mx.example.org", path
    for block in blocks[1:]:
        for name in ("Final-Recipient", "Action", "Status"):
            assert block[name], f"{path}: no {name}"
    assert len(blocks) > 1, path
    print(path, " ".join(message["Subject"].split()), returned.get_content_type())

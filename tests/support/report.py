"""Reads a delivery status notification as a receiving program would: with Python's email package."""
import email
import email.policy


class Report:
    def __init__(self, content):
        self.message = email.message_from_bytes(content, policy=email.policy.SMTPUTF8)
        m = self.message
        assert m.get_content_type() == "multipart/report", m.get_content_type()
        assert m.get_param("report-type") == "delivery-status", m["Content-Type"]
        assert not m.defects, m.defects
        self.parts = m.get_payload()
        assert len(self.parts) == 3, [p.get_content_type() for p in self.parts]
        for part in self.parts:
            assert not part.defects, part.defects
        self.text = self.parts[0].get_content()
        assert self.parts[1].get_content_type() == "message/delivery-status", self.parts[1].get_content_type()
        blocks = self.parts[1].get_payload()
        self.head, self.recipients = blocks[0], blocks[1:]
        self.returned = self.parts[2]

    def recipient(self, address):
        for r in self.recipients:
            if r["Final-Recipient"].split(";", 1)[1].strip().lower() == address.lower():
                return r
        raise AssertionError(f"{address} not in {[r['Final-Recipient'] for r in self.recipients]}")

    def returned_field(self, name):
        payload = self.returned.get_payload()
        if isinstance(payload, list):
            return payload[0][name]
        return email.message_from_string(payload, policy=email.policy.SMTPUTF8)[name]


def is_report(content):
    return b"report-type=" in content[:4000] and b"delivery-status" in content

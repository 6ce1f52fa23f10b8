# What Python's email package finds in the message on standard input: one line for each part, in the order of the headers:
# depth, type, and for a leaf its body in hexadecimal. tests/structure.rs holds it against ours.
# get_payload() would decode the body's charset; _payload is what was parsed.
import email, sys

def tell(part, depth):
    leaf = not part.is_multipart()
    body = part._payload.encode("ascii", "surrogateescape").hex() if leaf else ""
    print(depth, part.get_content_type(), body)
    if not leaf:
        for child in part.get_payload():
            tell(child, depth + 1)

tell(email.message_from_bytes(sys.stdin.buffer.read()), 0)

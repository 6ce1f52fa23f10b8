"""Python's smtplib, imaplib and poplib against a running server: every command that they offer, as a program would use it.

Usage: libraries.py PORT_BASE CERTIFICATE ADDRESS OTHER_ADDRESS PASSWORD
"""
import imaplib
import poplib
import smtplib
import ssl
import sys
import threading
import time

base, certificate, anna, ben, password = int(sys.argv[1]), *sys.argv[2:6]
context = ssl.create_default_context(cafile=certificate)
HOST = "localhost"


def message(subject, body="hello"):
    return f"From: <{anna}>\r\nTo: <{ben}>\r\nSubject: {subject}\r\n\r\n{body}\r\n".encode()


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


# SMTP: submission by both ports, several recipients, a refused one, 8-bit, a large message.
with smtplib.SMTP_SSL(HOST, base + 465, context=context, timeout=30) as smtp:
    smtp.login(anna, password)
    assert smtp.sendmail(anna, [anna, ben], message("one")) == {}
    refused = smtp.sendmail(anna, [ben, "nobody@example.test"], message("two"))
    assert refused["nobody@example.test"][0] == 550, refused
    assert smtp.verify(ben)[0] in (250, 252)
    assert smtp.noop()[0] == 250 and smtp.rset()[0] == 250
with smtplib.SMTP(HOST, base + 587, timeout=30) as smtp:
    try:
        smtp.login(anna, password)
        raise SystemExit("a password crossed the line in clear")
    except smtplib.SMTPNotSupportedError:
        pass
    smtp.starttls(context=context)
    smtp.login(anna, password)
    text = "Subject: gro\u00df\r\n\r\n".encode() + "\u00fcber\r\n".encode() * 400_000
    assert smtp.sendmail(anna, [ben], text, mail_options=["BODY=8BITMIME"]) == {}
    try:
        smtp.sendmail(ben, [anna], message("forged"))
        raise SystemExit("a forged sender was taken")
    except smtplib.SMTPSenderRefused as error:
        assert error.smtp_code == 553, error

# IMAP: the life of a message.
imap = imaplib.IMAP4(HOST, base + 143, timeout=30)
assert "LOGINDISABLED" in imap.capabilities, imap.capabilities
imap.starttls(ssl_context=context)
imap.login(ben, password)
assert "IDLE" in imap.capabilities and "UIDPLUS" in imap.capabilities, imap.capabilities
names = b" ".join(ok(imap.list()))
for name in (b"INBOX", b"Sent", b"Drafts", b"Trash", b"Junk", b"Archive", b"\\Sent", b"\\Trash"):
    assert name in names, names
assert ok(imap.select("INBOX")) == [b"3"]
uid_validity = imap.response("UIDVALIDITY")[1][0]
big = ok(imap.fetch("3", "(RFC822.SIZE BODY.PEEK[TEXT]<2400000.100000>)"))
assert big[0][1] == b"\xbcber\r\n\xc3" * 0 + ("\u00fcber\r\n".encode() * 400_000)[2400000:2500000], big[0][0]
assert b"Subject: one" in ok(imap.fetch("1", "(BODY[HEADER.FIELDS (SUBJECT)])"))[0][1]
assert b"\\Seen" in ok(imap.fetch("1", "(FLAGS)"))[0]
ok(imap.create("Work/2026"))
ok(imap.subscribe("Work/2026"))
assert b"Work/2026" in b" ".join(ok(imap.lsub()))
date = imaplib.Time2Internaldate(1_000_000_000)
ok(imap.append("Work/2026", "(\\Flagged $Label1)", date, message("appended")))
ok(imap.uid("COPY", "1", "Work/2026"))
assert b"MESSAGES 2" in ok(imap.status("Work/2026", "(MESSAGES UIDNEXT UNSEEN)"))[0]
ok(imap.uid("STORE", "2", "+FLAGS", "(\\Deleted)"))
assert ok(imap.search(None, "DELETED")) == [b"2"]
assert ok(imap.expunge()) == [b"2"]
ok(imap.uid("MOVE", "1", "Trash"))
assert ok(imap.search("UTF-8", "ALL")) == [b"1"]
ok(imap.rename("Work/2026", "Done"))
assert ok(imap.select("Done")) == [b"2"]
got = ok(imap.fetch("1:*", "(UID FLAGS INTERNALDATE ENVELOPE BODYSTRUCTURE)"))
assert b" 9-Sep-2001 01:46:40 +0000" in got[0] and b"$Label1" in got[0], got
ok(imap.close())
ok(imap.delete("Done"))
assert imap.select("Done")[0] == "NO"
assert ok(imap.namespace()) and ok(imap.noop()) and ok(imap.check())[0] if imap.state == "SELECTED" else True

# IDLE by hand: the library has none. A delivery is told within the deadline.
ok(imap.select("INBOX"))
imap.send(b"i1 IDLE\r\n")
assert imap.readline().startswith(b"+"), "no continuation"
sender = threading.Thread(target=lambda: smtplib.SMTP(HOST, base + 24).close())


def deliver():
    with smtplib.LMTP(HOST, base + 24, timeout=30) as lmtp:
        lmtp.sendmail("x@example.org", [ben], message("while idle"))


sender = threading.Thread(target=deliver)
sender.start()
started = time.monotonic()
while True:
    line = imap.readline()
    if line.endswith(b"EXISTS\r\n"):
        break
    assert time.monotonic() - started < 20, "nothing was told"
sender.join()
imap.send(b"DONE\r\n")
while not imap.readline().startswith(b"i1 OK"):
    pass
imap.logout()

# POP3: both ports, every command; the same INBOX.
pop = poplib.POP3_SSL(HOST, base + 995, context=context, timeout=30)
pop.utf8()
pop.user(ben)
pop.pass_(password)
assert "UIDL" in pop.capa() and "TOP" in pop.capa()
count, octets = pop.stat()
assert count == 2, count
sizes = {int(line.split()[0]): int(line.split()[1]) for line in pop.list()[1]}
assert sum(sizes.values()) == octets
ids = [line.split()[1].decode() for line in pop.uidl()[1]]
assert ids[0].split(".")[0] == uid_validity.decode(), ids
second = poplib.POP3_SSL(HOST, base + 995, context=context, timeout=30)
second.user(ben)
try:
    second.pass_(password)
    raise SystemExit("two sessions have one maildrop")
except poplib.error_proto as error:
    assert b"[IN-USE]" in error.args[0], error
second.close()
answer, lines, size = pop.retr(2)
assert b"Subject: while idle" in lines, lines
assert sum(len(line) + 2 for line in lines) == sizes[2] == size
assert pop.top(2, 0)[1][-1] == b"" and b"hello" not in pop.top(2, 0)[1]
pop.dele(2)
pop.rset()
pop.dele(2)
pop.noop()
pop.quit()
plain = poplib.POP3(HOST, base + 110, timeout=30)
plain.stls(context=context)
plain.user(ben)
plain.pass_(password)
assert plain.stat()[0] == 1
plain.quit()
print("all done")

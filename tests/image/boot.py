#!/usr/bin/env python3
"""Starts a board's image in QEMU as a user would flash it, and uses it: set up over the serial line, mail from the host, power cuts.

Usage: tests/image/boot.py BOARD [CUTS]      run by `scripts/test image`; the image must have been made

What is proven: nothing is served before there is an administrator; the set-up typed on the serial line holds; a thousand pasted lines
are all taken; TLS clients send by SMTP and fetch by IMAP and POP3; after each of CUTS power cuts (QEMU is killed) in the middle of
deliveries the box comes up by itself and has every message that it had acknowledged; a set-up file on the card is carried out and erased;
a clock at 1970 and a cable that comes late are borne.
"""
import imaplib
import os
import pathlib
import poplib
import queue
import random
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MIB = 1 << 20
CARD = 512 * MIB
PORTS = (25, 110, 143, 465, 587, 993, 995)
ADMIN, PASSWORD = "sesame, open", "correct horse 9"
ANNA, BEN = "anna@example.test", "ben@example.test"
QUESTIONS = (("language", "en"), ("domain", "example.test"), ("first mailbox", "anna"), ("size", "L"), ("made up", "no"))
UNATTENDED, UNATTENDED_PASSWORD = "carla@unattended.test", "hang up the coat"
PASTED = 1000
CLIENTS = 10
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE


def say(text):
    print(text, flush=True)


def read_conf(board):
    lines = (ROOT / "board" / board / "board.conf").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def free_base():
    """A number to which every port can be added."""
    while True:
        base = random.randrange(11000, 60000)
        try:
            for port in PORTS:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", base + port))
            return base
        except OSError:
            continue


class Box:
    """A board with a card in it, with its power on or off."""

    def __init__(self, board, folder):
        self.conf, self.folder, self.base = read_conf(board), pathlib.Path(folder), free_base()
        self.card = self.folder / "card"
        subprocess.run(["cp", "--sparse=always", ROOT / "target/board" / f"{board}.img", self.card], check=True)
        os.truncate(self.card, CARD)
        self.qemu = None

    def words(self):
        """QEMU's command line. BOOT/x is a file of the image's boot partition, @BOOT/x its text, IMAGE the card."""
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{self.base + port}-:{port}" for port in PORTS)
        words = f"{self.conf['QEMU']} {self.conf['QEMU_DEVICES']}".replace("IMAGE", str(self.card)).split()
        for at, word in enumerate(words):
            if "BOOT/" in word:
                file = self.folder / word.partition("BOOT/")[2]
                subprocess.run(["mcopy", "-n", "-o", "-i", f"{self.card}@@{MIB}", f"::{file.name}", file], check=True)
                words[at] = file.read_text().strip() if word.startswith("@") else str(file)
        return [*words, "-netdev", f"user,id=net,restrict=on{forwards}", "-display", "none", "-no-reboot",
                "-monitor", f"unix:{self.folder}/monitor,server,nowait"]

    def power_on(self, *more):
        self.heard, self.since = bytearray(), time.monotonic()
        self.qemu = subprocess.Popen([*self.words(), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.bytes = queue.SimpleQueue()
        threading.Thread(target=self.listen, args=(self.qemu, self.bytes), daemon=True).start()

    @staticmethod
    def listen(qemu, heard):
        while part := qemu.stdout.read1(4096):
            heard.put(part)
        heard.put(b"")

    def power_off(self):
        self.qemu.kill()
        self.qemu.wait()

    def cable(self, state):
        """Pulls the network cable out, or puts it in."""
        with socket.socket(socket.AF_UNIX) as monitor:
            while monitor.connect_ex(f"{self.folder}/monitor"):
                time.sleep(0.05)
            monitor.sendall(f"set_link net {state}\n".encode())
            monitor.settimeout(5)
            heard = b""
            while heard.count(b"(qemu)") < 2:
                heard += monitor.recv(4096)

    def until(self, wanted, seconds=120):
        """What is heard on the serial line up to this."""
        deadline = time.monotonic() + seconds
        while (at := self.heard.find(wanted.encode())) < 0:
            try:
                part = self.bytes.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                part = b""
            if not part:
                raise SystemExit(f"waits for {wanted!r}; heard: {self.heard[-3000:].decode(errors='replace')}")
            self.heard += part
        said = self.heard[: at + len(wanted)].decode(errors="replace")
        del self.heard[: at + len(wanted)]
        return said

    def send(self, text):
        self.qemu.stdin.write(text.encode())
        self.qemu.stdin.flush()

    def command(self, line):
        self.send(line + "\r")
        self.until(line)
        return self.until("postfach> ")

    def set_password(self, line, password):
        self.send(line + "\r" if line else "")
        self.until("New password: ")
        self.send(password + "\r")
        self.until("The same again: ")
        self.send(password + "\r")
        said = self.until("postfach> ")
        if password in said:
            raise SystemExit("a password was echoed")
        return said

    def log_in(self):
        """Where a password is asked for."""
        self.send(ADMIN + "\r")
        self.until("postfach> ")

    def answers(self, port=993):
        """Whether the box itself answers: QEMU takes connections for it before it can."""
        try:
            with socket.create_connection(("127.0.0.1", self.base + port), timeout=5) as raw, TLS.wrap_socket(raw) as line:
                return bool(line.recv(10))
        except OSError:
            return False

    def until_it_answers(self):
        deadline = time.monotonic() + 120
        while not self.answers():
            if self.qemu.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the box does not come up")
            time.sleep(0.1)
        return time.monotonic() - self.since


def message(number):
    return f"From: {BEN}\r\nTo: {ANNA}\r\nSubject: number {number}\r\n\r\n{'x' * 60}\r\n"


def imap(box, name=ANNA, password=PASSWORD):
    client = imaplib.IMAP4_SSL("127.0.0.1", box.base + 993, ssl_context=TLS, timeout=120)
    client.login(name, password)
    return client


def numbers(box):
    """The numbers of all messages that Anna has."""
    client = imap(box)
    client.select("INBOX", readonly=True)
    found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    client.logout()
    headers = (part[1] for part in found if isinstance(part, tuple))
    return {int(match[1]) for match in (re.search(rb"number (\d+)", header) for header in headers) if match}


def first_start(box):
    box.power_on()
    box.until("Postfach starts.")
    handed_over = time.monotonic()
    box.until("no administrator's password yet")
    now = time.monotonic()
    say(f"the serial line asks for the first password {now - box.since:.1f} s after power on, {now - handed_over:.1f} s after the kernel")
    for port in (993, 465):
        if box.answers(port):
            raise SystemExit(f"port {port} is served before there is an administrator")
    box.set_password("", ADMIN)
    box.send("setup\r")
    for question, answer in QUESTIONS:
        box.until(question)
        box.send(answer + "\r")
    box.set_password("", PASSWORD)
    box.set_password(f"mailbox add {BEN} size L", PASSWORD)
    if ANNA not in box.command("mailbox list"):
        raise SystemExit("the mailbox is not there")
    say(f"set up and served after {box.until_it_answers():.1f} s")


def use(box):
    start = time.monotonic()
    with smtplib.SMTP_SSL("127.0.0.1", box.base + 465, context=TLS, timeout=120) as client:
        client.login(ANNA, PASSWORD)
        say(f"TLS and a password checked in {time.monotonic() - start:.2f} s")
        client.sendmail(ANNA, [BEN], "Subject: over TLS\r\n\r\nIt works.\r\n")
    client = imap(box, BEN)
    client.select("INBOX")
    if b"It works." not in client.fetch("1", "(BODY.PEEK[])")[1][0][1]:
        raise SystemExit("IMAP does not have the message")
    client.logout()
    drop = poplib.POP3_SSL("127.0.0.1", box.base + 995, context=TLS, timeout=120)
    drop.user(BEN)
    drop.pass_(PASSWORD)
    if b"It works." not in drop.retr(1)[1]:
        raise SystemExit("POP3 does not have the message")
    drop.quit()
    resting = [imap(box) for _ in range(CLIENTS)]
    memory = [line for line in box.command("status").splitlines() if line.startswith("Memory")]
    say(f"with {CLIENTS} clients: {' '.join(memory[0].split()) if memory else 'no figure'}")
    for client in resting:
        client.logout()
    say("sent by SMTP, fetched by IMAP and POP3, all over TLS")


def paste(box):
    """All lines at once, faster than they are carried out."""
    start = time.monotonic()
    lines = "".join(f"alias add a{number}@example.test {ANNA}\r\n" for number in range(PASTED))
    threading.Thread(target=box.send, args=(lines,), daemon=True).start()
    for _ in range(PASTED):
        box.until("postfach> ")
    listed = box.command("alias list")
    missing = [number for number in range(PASTED) if f"a{number}@example.test" not in listed]
    if missing:
        raise SystemExit(f"of {PASTED} pasted lines {len(missing)} are lost, the first is {missing[0]}")
    say(f"{PASTED} pasted lines are all taken, in {time.monotonic() - start:.1f} s")


class Deliveries(threading.Thread):
    """Sends from outside until the box goes away, and keeps the ledger of what was acknowledged."""

    def __init__(self, box, first, step):
        super().__init__(daemon=True)
        self.box, self.next, self.step, self.acknowledged = box, first, step, []

    def run(self):
        try:
            with smtplib.SMTP("127.0.0.1", self.box.base + 25, timeout=20) as client:
                client.starttls(context=TLS)
                while True:
                    client.sendmail(BEN, [ANNA], message(self.next))
                    self.acknowledged.append(self.next)
                    self.next += self.step
        except (OSError, smtplib.SMTPException):
            pass


def cut(box, count):
    ledger, first = set(), 0
    for number in range(count):
        senders = [Deliveries(box, first + offset, 3) for offset in range(3)]
        for sender in senders:
            sender.start()
        time.sleep(random.uniform(0.8, 3))
        box.power_off()
        for sender in senders:
            sender.join(60)
            ledger.update(sender.acknowledged)
            first = max(first, sender.next + 3)
        box.power_on()
        box.until("Postfach starts.")
        handed_over = time.monotonic()
        box.until("Password: ")
        ready = time.monotonic() - handed_over
        seconds = box.until_it_answers()
        missing = ledger - numbers(box)
        if missing:
            raise SystemExit(f"after power cut {number + 1} acknowledged messages are missing: {sorted(missing)[:10]}")
        say(f"power cut {number + 1}: {len(ledger)} acknowledged messages are all there, "
            f"up after {seconds:.1f} s, {ready:.1f} s after the kernel")
    if count and not ledger:
        raise SystemExit("nothing was delivered between the cuts: they prove nothing")
    if count:
        box.log_in()
        say(box.command("status"))


def unattended(box):
    """A set-up file on the card; a clock that stands at 1970; no cable at first."""
    file = box.folder / "postfach.setup"
    name = UNATTENDED.partition("@")[2]
    file.write_text(f"domain add {name}\nmailbox add {UNATTENDED} size S\n{UNATTENDED_PASSWORD}\n")
    partition = f"{box.card}@@{MIB}"
    subprocess.run(["mcopy", "-n", "-o", "-i", partition, file, "::"], check=True)
    box.power_on("-rtc", "base=1970-01-01")
    box.cable("off")
    box.until("Password: ")
    box.send("\x00\xff\x1b[Anot this one\r")
    box.until("Wrong password.")
    box.until("Password: ")
    box.log_in()
    if box.answers():
        raise SystemExit("the cable is out, and yet the box answers")
    box.cable("on")
    box.until_it_answers()
    client = imap(box, UNATTENDED, UNATTENDED_PASSWORD)
    client.append("INBOX", None, None, b"Subject: what time is it?\r\n\r\n")
    client.select("INBOX")
    told = client.fetch("1", "(INTERNALDATE)")[1][0]
    client.logout()
    if imaplib.Internaldate2tuple(told).tm_year < 2026:
        raise SystemExit(f"the clock is wrong: {told}")
    box.power_off()
    if "postfach" in subprocess.run(["mdir", "-b", "-i", partition, "::"], capture_output=True, text=True).stdout:
        raise SystemExit("the set-up file is still there")
    with box.card.open("rb") as card:
        if UNATTENDED_PASSWORD.encode() in card.read(80 * MIB):
            raise SystemExit("the set-up file's password is still on the card")
    say("a set-up file was carried out and erased; no cable at first; the clock does not stand at 1970")


def main():
    board, cuts = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 30
    with tempfile.TemporaryDirectory() as folder:
        box = Box(board, folder)
        try:
            first_start(box)
            use(box)
            paste(box)
            cut(box, cuts)
            box.power_off()
            unattended(box)
        finally:
            if box.qemu:
                box.power_off()


main()

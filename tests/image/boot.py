#!/usr/bin/env python3
"""Starts a board's image in QEMU as a user would flash it, and uses it: set up over the serial line, mail from the host, power cuts.

Usage: tests/image/boot.py BOARD [CUTS [PART...]]      run by `scripts/test image`; the image must have been made

The parts; if none is named, those of the board's QEMU_PARTS, or all of them:
- start: nothing is served before there is an administrator; a new box is ready in time; the set-up typed on the serial line holds.
- use: TLS clients send by SMTP and fetch by IMAP and POP3; what a password costs, alone; memory with ten clients.
- line: noise, wrong passwords answered later and later, an adapter that is pulled out, a thousand pasted lines.
- ports: nothing listens but mail.
- cuts: after each of CUTS power cuts (QEMU is killed) in the middle of deliveries the box comes up by itself, in time, and has every
  message that it had acknowledged.
- first: the power goes at the first start, between any two of its steps: the next one makes what is missing, and never a store over mail.
- slots: slot B is started when A is not there, or damaged; what is said when neither can be read.
- idle: who types nothing is logged out; what is typed then is a password.
- lease: a router that names a time server; the clock is set by it.
- network: an address, a host name, the time by a server, each set on the serial line and kept or not; restarting and stopping.
- unattended: a new card with a set-up file on it, one that is wrong first, and power cuts; the clock at 1970, and no cable at first.

A box that must be ready in time gets three tries. On a machine that is busy with other things the processor time that its start has taken is
judged instead of the time that has passed, and may be half as much again, because who shares a processor shares its caches; all is told.
"""
import imaplib
import os
import poplib
import random
import re
import signal
import smtplib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
from box import ADMIN, CARD, MIB, PORTS, PROMPT, TLS, Box, fail, log_in, say
import card
from network import clock, lease, network

PASSWORD = "correct horse 9"
ANNA, BEN = "anna@example.test", "ben@example.test"
QUESTIONS = (("language", "en"), ("domain", "example.test"), ("first mailbox", "anna"), ("size", "L"), ("made up", "no"))
UNATTENDED, UNATTENDED_PASSWORD = "carla@unattended.test", "hang up the coat"
PASTED, PASTED_DOMAINS = 1000, 50
CLIENTS = 10
IDLE = 10
SCANNED_TO = int(os.environ.get("POSTFACH_IMAGE_PORTS", 65_535))
FIRST_CUTS = 3
TRIES = 3
# The owner's figures, bytes: at rest with ten clients, and one password hash on top of that. And a hash with all that belongs to it.
AT_REST_MAX, HASH_MAX, HASHING_MAX = 16_000_000, 19 * MIB, 22 * MIB
UNITS = {"KiB": 1024, "MiB": MIB}


def load():
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def message(number):
    return f"From: {BEN}\r\nTo: {ANNA}\r\nSubject: number {number}\r\n\r\n{'x' * 60}\r\n"


def imap(box, name=ANNA, password=PASSWORD, context=TLS):
    client = imaplib.IMAP4_SSL("127.0.0.1", box.base + 993, ssl_context=context, timeout=120)
    client.login(name, password)
    return client


def numbers(box):
    """The numbers of all messages that Anna has."""
    client = imap(box)
    there = int(client.select("INBOX", readonly=True)[1][0])
    found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if there else []
    client.logout()
    headers = (part[1] for part in found if isinstance(part, tuple))
    return {int(match[1]) for match in (re.search(rb"number (\d+)", header) for header in headers) if match}


def told(times):
    passed, spent = times
    return f"{passed:.2f} s ({spent:.2f} s of processors, {load()})"


def in_time(box, times):
    """Whether this is as soon as the board's READY_SECONDS want it; without them, always."""
    passed, spent = times
    busy = os.getloadavg()[0] > 1.5 * os.cpu_count()
    return (min(passed, spent / 1.5) if busy else passed) <= float(os.environ.get("POSTFACH_READY_SECONDS") or box.conf.get("READY_SECONDS", "inf"))


def start(box):
    for _ in range(TRIES):
        box.flash()
        box.start()
        box.until("no administrator's password yet")
        ready = box.since_hand_over()
        say(f"a new card: {time.monotonic() - box.since:.1f} s after power on the serial line asks for the first password; "
            f"after the kernel has handed over, {told(ready)}")
        if in_time(box, ready):
            break
        box.power_off()
    else:
        fail(f"a new box takes longer than {box.conf['READY_SECONDS']} s, in all of {TRIES} tries")
    for port in (993, 465):
        if box.answers(port):
            fail(f"port {port} is served before there is an administrator")
    box.set_password("", ADMIN)
    entered = time.monotonic()
    box.until_it_answers()
    say(f"its ports answer {time.monotonic() - entered:.2f} s after that password is set")
    box.send("setup\r")
    for question, answer in QUESTIONS:
        box.until(question)
        box.send(answer + "\r")
    box.set_password("", PASSWORD)
    box.set_password(f"mailbox add {BEN} size L", PASSWORD)
    if ANNA not in box.command("mailbox list"):
        fail("the mailbox is not there")
    # The image leaves most of the card free.
    there = (CARD - card.STORE) // MIB
    store = re.search(r"Store +(\d+) MiB", said := box.command("status"))
    # It counts by whole segments.
    if card.store_bytes(box) != there * MIB or not store or not there - 16 < int(store[1]) <= there:
        fail(f"the store does not take what is left of the card, {there} MiB: {said}")


def memory(box):
    """Bytes in use now, and at most so far."""
    found = re.search(r"Memory +([\d.]+) ([KM]iB), at most ([\d.]+) ([KM]iB)", box.command("status"))
    return [float(found[at]) * UNITS[found[at + 1]] for at in (1, 3)] if found else fail("`status` tells no memory")


def use(box):
    with smtplib.SMTP_SSL("127.0.0.1", box.base + 465, context=TLS, timeout=120) as client:
        client.login(ANNA, PASSWORD)
        client.sendmail(ANNA, [BEN], "Subject: over TLS\r\n\r\nIt works.\r\n")
    client = imap(box, BEN)
    client.select("INBOX")
    if b"It works." not in client.fetch("1", "(BODY.PEEK[])")[1][0][1]:
        fail("IMAP does not have the message")
    client.logout()
    drop = poplib.POP3_SSL("127.0.0.1", box.base + 995, context=TLS, timeout=120)
    drop.user(BEN)
    drop.pass_(PASSWORD)
    if b"It works." not in drop.retr(1)[1]:
        fail("POP3 does not have the message")
    drop.quit()
    say("sent by SMTP, fetched by IMAP and POP3, all over TLS")

    # QEMU's machines have a clock that is right; the other network is out of reach.
    if "-M virt" in box.conf["QEMU"] and (abs(clock(said := box.command("time")) - time.time()) > 60 or "Last answer  none since the start" not in said):
        fail(f"the board's clock is right, and is not taken: {said}")

    # Alone: nothing else runs in the box, and what a change costs without a hash is taken off.
    box.send(f"alias add timed@example.test {ANNA}\r")
    change = box.timed()
    hashed = min(box.set_password(f"mailbox passwd {BEN}", PASSWORD) for _ in range(TRIES))
    passed, spent = (1000 * max(0, whole - part) for whole, part in zip(hashed, change))
    say(f"a password is hashed in {passed:.0f} ms, nothing else running in the box ({spent:.0f} ms of processors, {load()})")

    resting = [imap(box) for _ in range(CLIENTS)]
    now, most = memory(box)
    say(f"memory with {CLIENTS} clients: {now / MIB:.1f} MiB, while one password was hashed {most / MIB:.1f} MiB")
    if now > AT_REST_MAX or most > min(AT_REST_MAX + HASH_MAX, now + HASHING_MAX):
        fail("that is too much")
    for client in resting:
        client.logout()


def line(box):
    """What can happen on a serial line. Begins and ends logged in."""
    # A UART has no carrier: the box does not see that the adapter is pulled out. What was typed stands, the login too, until it is idle.
    box.send("mailbox li")
    box.until("mailbox li")
    box.unplug()
    time.sleep(1)
    box.plug_in()
    box.send("st\r")
    if ANNA not in box.until(PROMPT):
        fail("the line is not what it was before the adapter was pulled out")

    noise = bytes(byte for byte in random.randbytes(600) if byte not in b"\r\n\x03\x04")
    box.send(b"\x1b" + noise + b"\x03")
    # Noise may ask for help, and get it: the line is quiet again when this comes back.
    box.send("# quiet again\r")
    box.until("# quiet again")
    box.until(PROMPT)
    if ANNA not in box.command("mailbox list"):
        fail("the console does not understand after noise")
    box.send("exit\r")
    box.until("Password: ")
    box.send(noise + b"\x03")
    box.until("Password: ")
    times = []
    for wrong in ("not this one", "nor this", "this one neither"):
        box.send(wrong + "\r")
        since = time.monotonic()
        box.until("Wrong password.")
        times.append(time.monotonic() - since)
        box.until("Password: ")
    if any(seconds < wanted for seconds, wanted in zip(times, (2, 4, 8))):
        fail(f"wrong passwords are answered too soon: after {times}")
    log_in(box)
    say(f"after noise, and wrong passwords answered after {', '.join(f'{seconds:.1f}' for seconds in times)} s, the right one is taken; "
        "an adapter pulled out and put in again goes on where it was")
    paste(box)


def paste(box):
    """All lines at once, faster than they are carried out, with every way to end a line."""
    since = time.monotonic()
    domains = [f"d{number}.test" for number in range(PASTED_DOMAINS)]
    aliases = [f"a{number}@{domains[number % len(domains)]}" for number in range(PASTED - len(domains))]
    lines = [f"domain add {domain}" for domain in domains] + [f"alias add {alias} {ANNA}" for alias in aliases]
    text = "".join(line + ("\r", "\n", "\r\n")[number % 3] for number, line in enumerate(lines))
    threading.Thread(target=box.send, args=(text + "help alias\r",), daemon=True).start()
    box.until("alias remove", 600)
    box.until(PROMPT)
    seconds = time.monotonic() - since
    known = set(re.findall(r"\S+", box.command("domain list") + box.command("alias list")))
    missing = [name for name in domains + aliases if name not in known]
    if missing:
        fail(f"of {PASTED} pasted lines {len(missing)} are lost, the first is {missing[0]}")
    say(f"{PASTED} pasted lines are all taken, in {seconds:.1f} s")


def ports(box):
    since = time.monotonic()
    found = box.listening(range(1, SCANNED_TO + 1))
    # A busy machine may lose a refusal among so many; what is open is open each time.
    for _ in range(TRIES):
        if found != sorted(PORTS):
            found = box.listening(found)
    if found != sorted(PORTS):
        fail(f"these ports are open: {found}")
    say(f"of the TCP ports up to {SCANNED_TO} nothing listens on others than {', '.join(map(str, found))} ({time.monotonic() - since:.0f} s)")


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
    ledger, first, readies, answered = set(), 0, [], []
    for number in range(count):
        senders = [Deliveries(box, first + offset, 3) for offset in range(3)]
        for sender in senders:
            sender.start()
        deadline = time.monotonic() + 60
        while not any(sender.acknowledged for sender in senders) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(random.uniform(0, 2))
        box.power_off()
        for sender in senders:
            sender.join(60)
            ledger.update(sender.acknowledged)
            first = max(first, sender.next + 3)
        box.start()
        box.until("Password: ")
        readies.append(box.since_hand_over())
        answered.append(box.until_it_answers())
        missing = ledger - numbers(box)
        if missing:
            fail(f"after power cut {number + 1} acknowledged messages are missing: {sorted(missing)[:10]}")
        say(f"power cut {number + 1}: {len(ledger)} acknowledged messages are all there; ready {readies[-1][0]:.2f} s after the kernel, "
            f"ports answer {told(answered[-1])}")
    if not ledger:
        fail("nothing was delivered between the cuts: they prove nothing")
    for what, times in (("ready", readies), ("ports answer", answered)):
        passed = [time[0] for time in times]
        say(f"later starts, {what} after the kernel has handed over: least {min(passed):.2f} s, half of them {statistics.median(passed):.2f} s, "
            f"most {max(passed):.2f} s; of processors {statistics.median(time[1] for time in times):.2f} s")
    if not any(in_time(box, times) for times in answered):
        fail(f"no later start was as quick as {box.conf['READY_SECONDS']} s")
    log_in(box)
    say(box.command("status"))


def first(box):
    """Begins and ends switched off; the card is a new one then."""
    for number in range(FIRST_CUTS):
        box.flash()
        box.start()
        time.sleep(random.uniform(0, 1.5))
        box.power_off()
        a_new_box(box, f"the power went at the first start ({number + 1})")
    for what, used in (("no store", None), ("the mark of a store", 0)):
        card.cut_short(box, used)
        a_new_box(box, f"{what} was there when the power went at the first start")
    card.cut_short(box, 16)
    box.start()
    box.until("The mail server has ended")
    box.power_off()
    if card.has_store(box):
        fail("a store was made where one has had mail")
    say(f"after {FIRST_CUTS} power cuts at the first start, and between its steps, the box is a new one with all of its card; "
        "a damaged store that has had mail is left alone")


def a_new_box(box, what):
    box.start()
    said = box.until("no administrator's password yet")
    box.power_off()
    if "has ended" in said or not card.has_store(box) or card.store_bytes(box) != CARD - card.STORE:
        fail(f"{what}, and the box is not a new one: {said}")


def slots(box):
    """Begins and ends switched off."""
    slots = card.Slots(box)
    for what, harm in (("zeroed", slots.zero), ("damaged in the middle of postfach", slots.damage)):
        harm("A")
        box.start()
        said = box.until("Password: ")
        ready = box.since_hand_over()
        why = re.search(r"slot A of the card is damaged \((.*)\)\. Slot B is started", said)
        if not why:
            fail(f"slot A is {what}, and nothing is said of it: {said}")
        box.until_it_answers()
        imap(box).logout()
        say(f"slot A is {what}: slot B serves mail, ready {told(ready)}; why: {why[1].strip()}")
        box.power_off()
        slots.mend()
    slots.damage("A")
    slots.zero("B")
    box.start()
    box.until("neither slot of the card can be read. Write the image to a new card.")
    box.power_off()
    slots.mend()
    say("both damaged: it says so")


def idle(box):
    """Begins and ends switched off. The patience of the serial line is shortened as it can be on any card."""
    box.command_line("panic=5", f"panic=5 IDLE_SECONDS={IDLE}")
    box.start()
    box.until("Password: ")
    log_in(box)
    box.command("mailbox list")
    since = time.monotonic()
    box.until("Logged out: nothing was typed for a while.")
    passed = time.monotonic() - since
    box.until("Password: ")
    box.send(f"mailbox remove {ANNA}\r")
    box.until("Wrong password.")
    if passed < IDLE:
        fail(f"logged out after {passed:.1f} s already")
    say(f"who typed nothing was logged out after {passed:.1f} s, with a patience of {IDLE} s")
    box.power_off()
    box.command_line(f" IDLE_SECONDS={IDLE}", "")


def set_up(box, lines):
    """Puts a set-up file on the card, as an editor on Windows writes and names it."""
    file = box.folder / "postfach.setup.txt"
    file.write_bytes("\r\n".join(("\ufeff" + lines[0], *lines[1:])).encode())
    subprocess.run(["mcopy", "-n", "-o", "-i", box.boot_partition, file, "::"], check=True)


def unattended(box):
    """A set-up file on a new card; a clock that stands at 1970; no cable at first. Before that, one that is wrong, and power cuts."""
    box.flash()
    name = UNATTENDED.partition("@")[2]
    lines = ("admin passwd", ADMIN, f"domain add {name}", f"mailbox add {UNATTENDED} size S", UNATTENDED_PASSWORD)
    set_up(box, (*lines, f"alias add info@{name} nobody@{name}"))
    box.start()
    said = box.until("no administrator's password yet")
    if "alias add" not in said or "nothing of it is in force" not in said:
        fail(f"a set-up file is wrong, and nothing is said of it: {said}")
    box.power_off()
    set_up(box, lines)
    for _ in range(FIRST_CUTS):
        box.start()
        time.sleep(random.uniform(0, 2.5))
        box.power_off()
    box.power_on("-rtc", "base=1970-01-01")
    box.cable("off")
    box.until("Postfach starts.")
    box.mark_hand_over()
    box.until("Password: ")
    ready = box.since_hand_over()
    log_in(box)
    if box.answers():
        fail("the cable is out, and yet the box answers")
    plugged = time.monotonic()
    box.cable("on")
    box.until_it_answers()
    say(f"set up by a file: after the kernel has handed over, ready {told(ready)}; its ports answer {time.monotonic() - plugged:.2f} s "
        "after the cable is in")

    # A client that looks at dates and names: it trusts this certificate, if it is valid today.
    shown = ssl.get_server_certificate(("127.0.0.1", box.base + 993))
    strict = ssl.create_default_context(cadata=shown)
    with socket.create_connection(("127.0.0.1", box.base + 993), timeout=60) as raw:
        with strict.wrap_socket(raw, server_hostname=f"mail.{name}") as checked:
            valid = checked.getpeercert()
    client = imap(box, UNATTENDED, UNATTENDED_PASSWORD)
    client.append("INBOX", None, None, b"Subject: what time is it?\r\n\r\n")
    client.select("INBOX")
    date = client.fetch("1", "(INTERNALDATE)")[1][0]
    client.logout()
    arrived = time.mktime(imaplib.Internaldate2tuple(date))
    if not box.built() <= arrived < time.time() + 60:
        fail(f"the clock is wrong: {date}")
    box.power_off()
    if "postfach" in subprocess.run(["mdir", "-b", "-i", box.boot_partition, "::"], capture_output=True, text=True).stdout:
        fail("the set-up file is still there")
    with box.card.open("rb") as card:
        on_card = card.read(80 * MIB)
    if UNATTENDED_PASSWORD.encode() in on_card or ADMIN.encode() in on_card:
        fail("the set-up file's password is still on the card")
    say(f"of a wrong set-up file nothing was in force; a right one was carried out and erased, after {FIRST_CUTS} power cuts; with the clock "
        f"at 1970 the certificate is valid from {valid['notBefore']} to {valid['notAfter']}, and mail that comes is of "
        f"{time.strftime('%Y-%m-%d', time.localtime(arrived))}")


PARTS = ("start", "use", "line", "ports", "cuts", "slots", "idle", "lease", "network", "first", "unattended")


def main():
    board, cuts, *parts = sys.argv[1:] + ["30"] * (len(sys.argv) == 2)
    if set(parts) - set(PARTS):
        sys.exit(f"the parts are {' '.join(PARTS)}")
    # Ended from outside, QEMU ends too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    with tempfile.TemporaryDirectory() as folder:
        box = Box(board, folder)
        parts = parts or box.conf.get("QEMU_PARTS", " ".join(PARTS)).split()
        try:
            card.made(box)
            start(box)
            for part in (use, line, ports):
                if part.__name__ in parts:
                    part(box)
            if "cuts" in parts and int(cuts):
                cut(box, int(cuts))
            box.power_off()
            for part in (slots, idle, lease):
                if part.__name__ in parts:
                    part(box)
            if "network" in parts:
                network(box)
                box.at_large = False
            card.unchanged(box)
            if "first" in parts:
                first(box)
            if "unattended" in parts:
                unattended(box)
        finally:
            if box.qemu:
                box.power_off()


if __name__ == "__main__":
    main()

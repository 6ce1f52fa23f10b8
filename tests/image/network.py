"""The parts of boot.py about the box's network and its clock.

It refuses to know mail: the network is there when the ports answer.
"""
import calendar
import re
import socket
import threading
import time

from box import fail, free_base, log_in, say
from office import CLOCK, Office


class TimeServer(threading.Thread):
    """Says that it is whenever (RFC 4330), to everybody who asks. The box sees it at QEMU's address for the host."""

    def __init__(self, seconds_ahead):
        super().__init__(daemon=True)
        self.ahead, self.socket = seconds_ahead, socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.name, self.silent = f"10.0.2.2:{self.socket.getsockname()[1]}", False

    def run(self):
        while True:
            asked, peer = self.socket.recvfrom(100)
            if self.silent:
                continue
            now = int((time.time() + self.ahead + 2_208_988_800) * (1 << 32))
            stamp = now.to_bytes(8, "big")
            self.socket.sendto(b"\x24\x01\x06\xec" + bytes(8) + b"TEST" + stamp + asked[40:48] + stamp + stamp, peer)


def greeting(box, port=25):
    with socket.create_connection(("127.0.0.1", box.base + port), timeout=20) as line:
        return line.makefile("rb").readline().decode()


def keep(box):
    if "It stays: " not in (said := box.command("keep")):
        fail(f"it is not on trial: {said}")


def until_said(box, command, wanted, otherwise, seconds=60):
    """Types a command until its answer is like this; returns the answer."""
    deadline = time.monotonic() + seconds
    while not re.search(wanted, said := box.command(command)):
        if time.monotonic() > deadline:
            fail(f"{otherwise}: {said}")
        time.sleep(0.5)
    return said


def clock(said):
    """Of `time`'s answer."""
    return calendar.timegm(time.strptime(re.search(r"Clock +(\S+ \S+) UTC", said)[1], "%Y-%m-%d %H:%M:%S"))


def six(box):
    """IPv6 from the router, which QEMU plays, set, and off. Each keeps the address of IPv4."""
    own, router = "fec0::5054:ff:fe12:3456/64", "Gateways .*fe80::2"
    for what, command, wanted in (
        ("from the router", None, f"(?s){own}.*{router}"),
        ("set", "network ipv6 static fec0::77/64 fe80::2", rf"(?s)Addresses +(?!.*{own}).*fec0::77/64.*{router}"),
        ("off", "network ipv6 off", r"Addresses +[\d.]+/24\s+Gateways +[\d.]+\s+Names"),
        ("from the router again", "network ipv6 auto", f"(?s){own}.*{router}"),
    ):
        if command:
            box.command(command)
            keep(box)
        until_said(box, "network", wanted, f"the IPv6 address is not the one {what}")
        if what != "off":
            # A new address is not used before it is sure that nobody else has it.
            until_said(box, "ping fec0::2", "fec0::2 answers|seq=", f"with the IPv6 address {what}, nothing answers")
    say("IPv6 by the router's advertisements, by an address that is set, and off: each is in force")


def in_and_out(box, how, answers, until_it_answers):
    """An adapter that goes and comes back, as one on USB does: another interface for the kernel."""
    if not box.has_socket():
        return
    box.adapter_out()
    until_said(box, "network", "Interface +none is there", "the network adapter is out, and it does not say so")
    if answers():
        fail("the network adapter is out, and yet the box answers")
    box.adapter_in()
    since = time.monotonic()
    until_it_answers()
    say(f"a network adapter was pulled out and put in again: with {how} the box answers {time.monotonic() - since:.1f} s later")


class Elsewhere:
    """The box at another address."""

    def __init__(self, box, port):
        self.box, self.port = box, port

    def answers_now(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as line:
                return bool(line.recv(10))
        except OSError:
            return False

    def answers(self, seconds):
        return self.becomes(True, seconds)

    def gone(self, seconds):
        return self.becomes(False, seconds)

    def becomes(self, wanted, seconds):
        deadline = time.monotonic() + seconds
        while self.answers_now() != wanted:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True


def network(box):
    """Begins switched off, ends with the box's own end."""
    box.at_large = True
    box.start("-rtc", "base=1970-01-01")
    box.until("Password: ")
    log_in(box)
    box.until_it_answers()

    if not box.built() <= clock(box.command("time")) < time.time() + 60:
        fail("with a clock that stands at 1970, the box does not start at the time of its build")
    in_and_out(box, "DHCP", box.answers, box.until_it_answers)
    six(box)

    ahead = 4 * 365 * 86400
    server = TimeServer(ahead)
    server.start()
    box.command(f"time server {server.name}")
    wanted = time.strftime("Clock +%Y-%m-%d", time.gmtime(time.time() + ahead))
    deadline = time.monotonic() + 60
    # So large a step is believed when it is told twice.
    while not re.search(wanted, said := box.command("time sync")):
        if time.monotonic() > deadline:
            fail(f"the clock is not set by a time server: {said}")
        time.sleep(1)
    say(f"{' '.join(said.split()[:4])}: set by a time server")

    box.command("network hostname post.example.test")
    if "post.example.test" not in (greeted := greeting(box)):
        fail(f"the host name is not in force: {greeted}")

    fixed, elsewhere = "10.0.2.77", free_base([0])
    box.monitor(f"hostfwd_add net tcp:127.0.0.1:{elsewhere}-{fixed}:143")
    there = Elsewhere(box, elsewhere)
    tried = time.monotonic()
    box.command(f"network static {fixed}/24 10.0.2.2")
    if not there.answers(20):
        fail("the address that was set is not in force")
    if not there.gone(120):
        fail("what was not kept has not gone back")
    seconds = time.monotonic() - tried
    box.until_it_answers()
    if seconds < 85:
        fail(f"the address has gone back after {seconds:.0f} s already")
    say(f"an address that was set was in force, and went back after {seconds:.0f} s because nobody kept it")
    box.command(f"network static {fixed}/24 10.0.2.2")
    keep(box)
    if not there.answers(20):
        fail("the address that was kept is not in force")
    in_and_out(box, "an address that is set", there.answers_now, lambda: there.answers(60) or fail("it is not in force again"))

    # Nobody tells the time any more.
    server.silent, before = True, clock(box.command("time"))
    box.send("reboot\r")
    name = re.search(r"\((\S+)\): $", box.until("): "))[1]
    box.send(name + "\r")
    box.until("Postfach starts.")
    box.mark_hand_over()
    box.until("Password: ")
    log_in(box)
    # QEMU comes up with the forwards that it was started with.
    if not there.answers(30) or "post.example.test" not in box.command("network"):
        fail("after a restart the network is not as it was kept")
    if clock(said := box.command("time")) < before or "Last answer  none since the start" not in said:
        fail(f"the clock was {before} before the restart, and is now: {said}")
    say(f"{name} restarted itself, with the address and the name that were kept; its clock, which stood at 1970, did not go back")
    box.send("poweroff\r")
    box.until("): ")
    box.send(name + "\r")
    box.qemu.wait(60)
    say("it switched itself off")


def lease(box):
    """Begins and ends switched off."""
    office = Office(600)
    office.start()
    box.netdev = office.netdev
    box.start()
    box.until("Password: ")
    log_in(box)
    deadline, wanted = time.monotonic() + 120, r"Servers +10\.1\.2\.9 \(from DHCP\)\s+Last answer .*10\.1\.2\.9"
    while not re.search(wanted, said := box.command("time")):
        if time.monotonic() > deadline:
            fail(f"the time server that DHCP names is not asked: {said}")
        time.sleep(0.5)
    if abs(clock(said) - time.time() - office.ahead) > 60 or 42 not in office.requested:
        fail(f"the clock is not what that server says: {said}")
    said = box.command("network")
    if any(word not in said for word in ("10.1.2.50/24", "Gateways     10.1.2.1", "Names from   10.1.2.1")):
        fail(f"the lease is not in force: {said}")
    say("the time server that DHCP names (option 42) was asked for, and has set the clock; address, gateway and names as DHCP said")

    box.command("network dns 10.1.2.7")
    keep(box)
    box.command(f"time server {CLOCK}")
    wanted = f"Servers +{CLOCK}\\s+Last answer .*{CLOCK}"
    until_said(box, "time", wanted, "a time server's name is not found by the server for names that was set")
    if "Names from   10.1.2.7" not in (said := box.command("network")):
        fail(f"other servers are asked for names: {said}")
    say(f"asked by its name, {CLOCK}, which only the server knows that `network dns` has set")
    box.command("time server default")
    box.command("network dns")
    keep(box)
    box.power_off()
    box.netdev = None

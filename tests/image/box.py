"""A board in QEMU with a card in it: its power, its serial line, its network cable, its ports as the host sees them.

It refuses to know what the box does. The card is the image as it is flashed, made longer; the serial line is a socket, so that it can be
unplugged; every mail port is forwarded from a port of the host's, its number plus `base`. QEMU ends when the box restarts itself, and nobody but the
host's ports is to be seen from it, unless it is `at_large`.
"""
import json
import os
import pathlib
import queue
import random
import selectors
import socket
import ssl
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MIB = 1 << 20
CARD = 512 * MIB
# Where the slots begin on a card, and where the second ends.
SLOTS = {"A": 64 * MIB, "B": 72 * MIB}
SLOT = 8 * MIB
PORTS = (25, 110, 143, 465, 587, 993, 995)
PROMPT = "postfach> "
ADMIN = "sesame, open"
# A network adapter that can be pulled out.
ADAPTER = "virtio-net-pci,bus=socket,netdev=net,id=adapter,romfile="
# Guest ports that are looked at in one go.
SCANNED = 1000


def say(text):
    print(text, flush=True)


def fail(text):
    raise SystemExit(text)


def log_in(box, password=ADMIN):
    """Where a password is asked for."""
    box.send(password + "\r")
    box.until(PROMPT)


def read_conf(board):
    lines = (ROOT / "board" / board / "board.conf").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def blind():
    """TLS that believes every certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


TLS = blind()


def free_base(numbers):
    """A number to which every one of these can be added."""
    while True:
        base = random.randrange(11000, 60000)
        try:
            for number in numbers:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", base + number))
            return base
        except OSError:
            continue


def right_of_way():
    """How long a start takes shall say something about the box, and little about what else this machine does. Only root may."""
    try:
        os.nice(-10)
    except PermissionError:
        pass


class Box:
    """A board with a card in it, with its power on or off."""

    def __init__(self, board, folder):
        self.board, self.conf, self.folder, self.base = board, read_conf(board), pathlib.Path(folder), free_base(PORTS)
        self.card, self.qemu, self.line, self.at_large = self.folder / "card", None, None, False
        # Another network than QEMU's own, as QEMU names it: there the host reaches no port.
        self.netdev = None

    def flash(self):
        """A new card."""
        subprocess.run(["cp", "--sparse=always", ROOT / "target/board" / f"{self.board}.img", self.card], check=True)
        os.truncate(self.card, CARD)

    @property
    def boot_partition(self):
        """As mtools name it."""
        return f"{self.card}@@{MIB}"

    def command_line(self, from_text, to_text):
        """Changes what the kernel is told, on the card."""
        for name in ("extlinux/extlinux.conf", "cmdline.txt"):
            file = self.folder / "changed"
            if subprocess.run(["mcopy", "-n", "-o", "-i", self.boot_partition, f"::{name}", file], capture_output=True).returncode == 0:
                file.write_text(file.read_text().replace(from_text, to_text))
                subprocess.run(["mcopy", "-n", "-o", "-i", self.boot_partition, file, f"::{name}"], check=True)

    def built(self):
        """The time of the image's sources, where the box's clock starts at the earliest."""
        told = subprocess.run(["unsquashfs", "-o", str(64 * MIB), "-cat", self.card, "etc/built"], check=True, capture_output=True)
        return int(told.stdout)

    def words(self):
        """QEMU's command line. BOOT/x is a file of the image's boot partition, @BOOT/x its text, IMAGE the card."""
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{self.base + port}-:{port}" for port in PORTS)
        words = f"{self.conf['QEMU']} {self.conf['QEMU_DEVICES']}".replace("IMAGE", str(self.card)).split()
        for at, word in enumerate(words):
            if "BOOT/" in word:
                file = self.folder / word.partition("BOOT/")[2]
                subprocess.run(["mcopy", "-n", "-o", "-i", self.boot_partition, f"::{file.name}", file], check=True)
                words[at] = file.read_text().strip() if word.startswith("@") else str(file)
        alone, restart = ("off", "reset") if self.at_large else ("on", "shutdown")
        return [*words, "-netdev", self.netdev or f"user,id=net,restrict={alone}{forwards}", "-display", "none",
                "-action", f"reboot={restart}", "-chardev", f"socket,id=line,path={self.folder}/line,server=on,wait=on",
                "-qmp", f"unix:{self.folder}/monitor,server=on,wait=off"]

    def power_on(self, *more):
        (self.folder / "line").unlink(missing_ok=True)
        self.since = time.monotonic()
        with (self.folder / "qemu.log").open("w") as log:
            self.qemu = subprocess.Popen([*self.words(), *more], stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=right_of_way)
        self.plug_in()

    def start(self, *more):
        """Power, and the moment when the kernel hands over to our first program."""
        self.power_on(*more)
        self.until("Postfach starts.")
        self.mark_hand_over()

    def mark_hand_over(self):
        self.handed_over, self.spent_before = time.monotonic(), self.spent()

    def spent(self):
        """Seconds of processor time that QEMU has used."""
        words = pathlib.Path(f"/proc/{self.qemu.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def since_hand_over(self):
        """Seconds that have passed, and how many of the processors' this start has taken: if others want them too, that is less."""
        return time.monotonic() - self.handed_over, self.spent() - self.spent_before

    def power_off(self):
        self.unplug()
        self.qemu.kill()
        self.qemu.wait()

    def plug_in(self):
        """The serial adapter."""
        self.heard, self.bytes, self.line = bytearray(), queue.SimpleQueue(), socket.socket(socket.AF_UNIX)
        while self.line.connect_ex(f"{self.folder}/line"):
            if self.qemu.poll() is not None:
                raise SystemExit(f"QEMU does not start: {(self.folder / 'qemu.log').read_text()}")
            time.sleep(0.02)
        threading.Thread(target=self.listen, args=(self.line, self.bytes), daemon=True).start()

    def unplug(self):
        if self.line:
            self.line.shutdown(socket.SHUT_RDWR)
            self.line.close()
        self.line = None

    @staticmethod
    def listen(line, heard):
        try:
            while part := line.recv(4096):
                heard.put(part)
        except OSError:
            pass
        heard.put(b"")

    def monitor(self, *commands):
        """Says these to QEMU; returns its answers, one after the other."""
        with socket.socket(socket.AF_UNIX) as link:
            while link.connect_ex(f"{self.folder}/monitor"):
                time.sleep(0.05)
            link.settimeout(60)
            lines, answers = link.makefile("r"), []
            asked = [{"execute": "human-monitor-command", "arguments": {"command-line": command}} for command in commands]
            lines.readline()
            for command in [{"execute": "qmp_capabilities"}, *asked]:
                link.sendall(json.dumps(command).encode())
                while "return" not in (answer := json.loads(lines.readline())):
                    if "error" in answer:
                        raise SystemExit(f"QEMU: {answer}")
                answers.append(answer["return"])
        return "".join(answers[1:])

    def cable(self, state):
        """Pulls the network cable out, or puts it in."""
        self.monitor(f"set_link net {state}")

    def has_socket(self):
        """Whether its network adapter can be pulled out."""
        return ADAPTER in self.conf["QEMU_DEVICES"]

    def adapter_out(self):
        """Pulls it out. The kernel of the box has let it go when this returns."""
        self.monitor("device_del adapter")
        deadline = time.monotonic() + 60
        while "adapter" in self.monitor("info network"):
            if time.monotonic() > deadline:
                fail("the box does not let its network adapter go")
            time.sleep(0.1)

    def adapter_in(self):
        """Puts the same one in again."""
        if said := self.monitor(f"device_add {ADAPTER},mac=52:54:00:12:34:56"):
            fail(f"QEMU: {said}")

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
        self.line.sendall(text if isinstance(text, bytes) else text.encode())

    def command(self, line):
        self.send(line + "\r")
        self.until(line)
        return self.until(PROMPT)

    def set_password(self, line, password):
        """Carries out a command that asks for a new password. Returns the seconds from the last key to the prompt, and QEMU's of processors."""
        self.send(line + "\r" if line else "")
        self.until("New password: ")
        self.send(password + "\r")
        self.until("The same again: ")
        self.send(password + "\r")
        return self.timed(password)

    def timed(self, never=None):
        """Waits for the prompt. Returns the seconds, and QEMU's of processors."""
        sent, spent = time.monotonic(), self.spent()
        said = self.until(PROMPT)
        if never and never in said:
            raise SystemExit("a password was echoed")
        return time.monotonic() - sent, self.spent() - spent

    def answers(self, port=993):
        """Whether the box itself answers: QEMU takes connections for it before it can."""
        try:
            with socket.create_connection(("127.0.0.1", self.base + port), timeout=5) as raw, TLS.wrap_socket(raw) as line:
                return bool(line.recv(10))
        except OSError:
            return False

    def until_it_answers(self, seconds=120):
        """Until IMAP greets; as `since_hand_over`. One attempt may wait long for its turn: there are ten a second."""
        greeted, deadline = queue.SimpleQueue(), time.monotonic() + seconds

        def attempt():
            try:
                with socket.create_connection(("127.0.0.1", self.base + 143), timeout=5) as line:
                    if line.recv(10):
                        greeted.put(self.since_hand_over())
            except OSError:
                pass

        while self.qemu.poll() is None and time.monotonic() < deadline:
            threading.Thread(target=attempt, daemon=True).start()
            try:
                return greeted.get(timeout=0.1)
            except queue.Empty:
                continue
        raise SystemExit("the box does not come up")

    def listening(self, ports):
        """Those of these TCP ports on which something listens: QEMU passes on what the box says to a connection, a refusal too."""
        found, base = [], free_base(range(SCANNED)) if ports else 0
        for first in range(0, len(ports), SCANNED):
            these = dict(zip(range(base, base + SCANNED), ports[first : first + SCANNED]))
            said = self.monitor(*[f"hostfwd_add net tcp:127.0.0.1:{here}-:{there}" for here, there in these.items()])
            if said:
                raise SystemExit(f"QEMU does not forward: {said[:200]}")
            found += still_open(these)
            self.monitor(*[f"hostfwd_remove net tcp:127.0.0.1:{here}" for here in these])
        return sorted(found)


def still_open(ports, seconds=4):
    """Those of the ports (here: there) whose connections are not closed at once by the other side."""
    waiting = selectors.DefaultSelector()
    for here, there in ports.items():
        line = socket.create_connection(("127.0.0.1", here), timeout=5)
        line.setblocking(False)
        waiting.register(line, selectors.EVENT_READ, there)
    found, deadline = [], time.monotonic() + seconds

    def end(line):
        waiting.unregister(line)
        line.close()

    while waiting.get_map() and (rest := deadline - time.monotonic()) > 0:
        for key, _ in waiting.select(rest):
            try:
                said = key.fileobj.recv(1)
            except OSError:
                said = b""
            if said:
                found.append(key.data)
            end(key.fileobj)
    for key in list(waiting.get_map().values()):
        found.append(key.data)
        end(key.fileobj)
    return found

"""What lies on a card, looked at and harmed from outside while the box is switched off.

It refuses to know what the box does about it.
"""
import random
import re
import subprocess

from box import CARD, MIB, ROOT, SLOT, SLOTS, fail

STORE, PARTITION = 80 * MIB, 446 + 3 * 16
PROGRAMS = {"/sbin/start", "/sbin/mail", "/sbin/network"}


def made(box):
    """Of the image: nobody gets a shell, and no program has other rights than who starts it."""
    def unsquashfs(*words):
        return subprocess.run(["unsquashfs", "-o", str(SLOTS["A"]), *words], check=True, capture_output=True, text=True).stdout

    image = ROOT / "target/board" / f"{box.board}.img"
    inittab = unsquashfs("-cat", image, "etc/inittab")
    started = {line.split(":", 3)[3] for line in inittab.splitlines() if line and not line.startswith("#")}
    if started != PROGRAMS:
        fail(f"other programs are started than these, {PROGRAMS}: {inittab}")
    if passwd := re.findall(r"^(?!.*:/bin/false$).*", unsquashfs("-cat", image, "etc/passwd").strip(), re.M):
        fail(f"these have a shell: {passwd}")
    for line in unsquashfs("-lln", image).splitlines():
        if (file := re.match(r"[-dlbcps]([-rwxsStT]{9}) (\S+)", line)) and (set(file[1]) & set("sStT") or file[2] != "0/0"):
            fail(f"this is somebody's own, or gives more rights than who starts it has: {line}")


def unchanged(box):
    """The slots are as they were flashed, whatever has happened since."""
    with box.card.open("rb") as card, (ROOT / "target/board" / f"{box.board}.img").open("rb") as image:
        for name, offset in SLOTS.items():
            card.seek(offset)
            image.seek(offset)
            if card.read(SLOT) != image.read(SLOT):
                fail(f"slot {name} has been written to")


def has_store(box):
    """Whether a store has been made."""
    with box.card.open("rb") as card:
        card.seek(STORE)
        return card.read(8) == b"Postfach"


def store_bytes(box):
    """The length of the store's partition, as the table has it."""
    with box.card.open("rb") as card:
        card.seek(PARTITION + 12)
        return 512 * int.from_bytes(card.read(4), "little")


def cut_short(box, used=None):
    """The card as after a power cut at the first start: the table of partitions has been written, the store not. Or as after one a moment later:
    only the mark of the store's use (src/journal/mark.rs) is there, which is not zero of a store that has had mail."""
    with box.card.open("r+b") as card:
        card.truncate(STORE)
        card.truncate(CARD)
        if used is not None:
            for block in (2, 3):
                card.seek(STORE + block * 4096)
                card.write(b"PostfUse" + used.to_bytes(8, "little") + random.randbytes(8))


class Slots:
    """The two slots, which are whole when this is made."""

    def __init__(self, box):
        self.box = box
        with box.card.open("rb") as card:
            card.seek(SLOTS["A"])
            self.whole = card.read(SLOT)

    def write(self, name, offset, data):
        with self.box.card.open("r+b") as card:
            card.seek(SLOTS[name] + offset)
            card.write(data)

    def zero(self, name):
        self.write(name, 0, bytes(SLOT))

    def damage(self, name):
        """One bit in the middle of what there is, which is postfach for the most part."""
        middle = int.from_bytes(self.whole[40:48], "little") // 2
        self.write(name, middle, bytes([self.whole[middle] ^ 0x10]))

    def mend(self):
        for name in SLOTS:
            self.write(name, 0, self.whole)

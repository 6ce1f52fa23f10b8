"""What lies on a card, looked at and harmed from outside while the box is switched off.

It refuses to know what the box does about it.
"""
from box import SLOT, SLOTS


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

#!/usr/bin/env python3
"""Holds a board's device trees and its loader's configuration against what is on the card: QEMU is no board, and forgives what a board does not.

Usage: tests/image/trees.py BOARD      run by `scripts/test image`; the board's kernel must have been unpacked by scripts/image

- Each part of the board that a module of the kernel drives: the module is on the card, or the board's UNUSED says that the box does without.
- What the card's slot is powered and reset by: the module is among MODULES, since nobody sees the card without it.
- What config.txt of a Raspberry Pi names is on the card, and so is the firmware that it asks for.
"""
import pathlib
import re
import struct
import sys

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).parents[2]


def conf(board):
    lines = (ROOT / "board" / board / "board.conf").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def nodes(blob):
    """Path and properties of each node of a flattened device tree (Devicetree Specification, chapter 5)."""
    _, _, at, strings = struct.unpack_from(">4I", blob)
    path, found = [], {}
    while True:
        (token,) = struct.unpack_from(">I", blob, at)
        at += 4
        if token == 1:  # A node begins.
            end = blob.index(b"\0", at)
            path.append(blob[at:end].decode())
            at = end + 4 & ~3
            found["/".join(path) or "/"] = {}
        elif token == 2:  # It ends.
            path.pop()
        elif token == 3:  # A property.
            size, name = struct.unpack_from(">2I", blob, at)
            name = blob[strings + name : blob.index(b"\0", strings + name)].decode()
            found["/".join(path) or "/"][name] = blob[at + 8 : at + 8 + size]
            at = at + 8 + size + 3 & ~3
        elif token == 9:
            return found


def okay(tree, path):
    """Whether a node is in use: it, and all that it lies in."""
    steps = path.split("/")
    above = ("/".join(steps[:count]) for count in range(2, len(steps) + 1))
    return all(tree[each].get("status", b"okay\0") in (b"okay\0", b"ok\0") for each in above)


def drivers(kernel):
    """For each kind of device the modules that say they drive it."""
    known = {}
    for module in kernel.rglob("*.ko"):
        for kind in re.findall(rb"alias=of:N\*T\*C([^\0*]+)\0", module.read_bytes()):
            known.setdefault(kind.decode(), set()).add(module.stem.replace("-", "_"))
    return known


def needed_by_the_card(tree):
    """The nodes of the card's slots, and of what powers and resets them."""
    handles = {node["phandle"]: path for path, node in tree.items() if "phandle" in node}
    slots = [path for path in tree if path.rsplit("/", 1)[-1].startswith("mmc@") and okay(tree, path) and "non-removable" not in tree[path]]
    found = list(slots)
    for path in found:
        for name, value in tree[path].items():
            if name.endswith("-supply") or name == "mmc-pwrseq":
                found.append(handles[value])
    return found


def check_trees(board, settings, kernel):
    words = lambda key: {word.replace("-", "_") for word in settings.get(key, "").split()}
    card, later, unused = words("MODULES"), words("MODULES_LATER"), words("UNUSED")
    known, wrong, seen = drivers(kernel), [], set()
    for name in settings["DEVICE_TREES"].split():
        tree = nodes(next((kernel / "usr/lib").glob(f"linux-image-*/{name}")).read_bytes())
        early = needed_by_the_card(tree)
        if not early:
            wrong.append(f"{name}: no slot for a card")
        for path, node in tree.items():
            kinds = node.get("compatible", b"").decode().split("\0")
            able = set().union(*(known.get(kind, set()) for kind in kinds))
            if not able or not okay(tree, path):
                continue
            seen |= able
            if path in early and not able & card:
                wrong.append(f"{name}: the card needs {path}, which {' or '.join(able)} drives: not among MODULES")
            elif not able & (card | later | unused):
                wrong.append(f"{name}: {path} is driven by {' or '.join(able)}: neither loaded nor among UNUSED")
    wrong += [f"UNUSED names {module}, which nothing on the board needs" for module in unused - seen]
    return wrong


def check_loader(board, settings):
    config = ROOT / "board" / board / "boot/config.txt"
    if not config.exists():
        return []
    there = {pathlib.Path(file).name for key in ("DEVICE_TREES", "FIRMWARE_FILES") for file in settings[key].split()}
    there |= {"kernel", "initrd"} | {path.name for path in config.parent.iterdir()}
    text = config.read_text()
    named = re.findall(r"^(?:kernel|device_tree)=(\S+)", text, re.M) + re.findall(r"^initramfs (\S+)", text, re.M)
    # Who gives the graphics 16 MB or less gets the firmware that can do with them.
    little = any(int(size) <= 16 for size in re.findall(r"^gpu_mem\w*=(\d+)", text, re.M))
    cut = "_cd" if little else ""
    models = {"bcm2711": [f"start4{cut[1:]}.elf", f"fixup4{cut[1:]}.dat"], "bcm2837": ["bootcode.bin", f"start{cut}.elf", f"fixup{cut}.dat"]}
    for model, files in models.items():
        named += files if model in settings["DEVICE_TREES"] else []
    return [f"config.txt asks for {file}, which is not on the card" for file in named if file not in there]


def main():
    board = sys.argv[1]
    settings = conf(board)
    arch = ROOT / "target/board" / settings["ARCH"]
    wrong = check_trees(board, settings, arch / settings["KERNEL"]) + check_loader(board, settings)
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{board}: all that its device trees name has its module, and its loader all that it asks for")


main()

"""A small office's network, frame by frame: a DHCP server that names a time server (option 42), that time server, and a server for names, which
DHCP does not name and which knows one: CLOCK, the time server's. Nothing else is there.

QEMU's own network cannot name one. QEMU sends each frame as a datagram, and takes the answers so. It refuses to know what it has not been
asked: ARP (RFC 826), DHCP (RFC 2131, 2132), NTP (RFC 4330), DNS (RFC 1035, addresses only) over IPv4.
"""
import ipaddress
import socket
import struct
import threading
import time

ADDRESSES = ("10.1.2.1", "10.1.2.7", "10.1.2.9", "10.1.2.50")
ROUTER, NAMES, TIME, BOX = (ipaddress.IPv4Address(address).packed for address in ADDRESSES)
CLOCK = "clock.office.test"
MAC = b"\x02\0\0\0\0\x01"
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
LEASE_SECONDS = 3600


def packet(source, target, from_port, to_port, data):
    """UDP in IPv4. The checksum of UDP may be left out."""
    udp = struct.pack(">HHHH", from_port, to_port, 8 + len(data), 0) + data
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0, source, target)
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack(">H", 0xFFFF - total) + head[12:] + udp


def options(data):
    """DHCP's, by number."""
    found, at = {}, 240
    while at + 1 < len(data) and data[at] != 255:
        if data[at]:
            found[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
            at += 1 + data[at + 1]
        at += 1
    return found


class Office(threading.Thread):
    """The network, whose time server is so much ahead."""

    def __init__(self, seconds_ahead):
        super().__init__(daemon=True)
        self.ahead, self.requested = seconds_ahead, set()
        self.socket, other = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        self.socket.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ours, theirs = (end.getsockname()[1] for end in (self.socket, other))
        other.close()
        self.netdev = f"socket,id=net,udp=127.0.0.1:{ours},localaddr=127.0.0.1:{theirs}"

    def run(self):
        while True:
            frame, peer = self.socket.recvfrom(2000)
            kind, data = frame[12:14], frame[14:]
            answer = {b"\x08\x06": self.arp, b"\x08\x00": self.ip}.get(kind, lambda _: None)(data)
            if answer:
                self.socket.sendto(frame[6:12] + MAC + kind + answer, peer)

    def arp(self, data):
        if data[6:8] == b"\0\x01" and data[24:28] in (ROUTER, NAMES, TIME):
            return data[:6] + b"\0\x02" + MAC + data[24:28] + data[8:18]
        return None

    def ip(self, data):
        target, udp = data[16:20], data[4 * (data[0] & 15) :]
        if data[9] != socket.IPPROTO_UDP:
            return None
        from_port, to_port = struct.unpack(">HH", udp[:4])
        if to_port == 67:
            return packet(ROUTER, b"\xff" * 4, 67, 68, self.dhcp(udp[8:]))
        if to_port == 123 and target == TIME:
            return packet(TIME, data[12:16], 123, from_port, self.ntp(udp[8:]))
        if to_port == 53 and target == NAMES:
            return packet(NAMES, data[12:16], 53, from_port, self.dns(udp[8:]))
        return None

    def dhcp(self, asked):
        wanted = options(asked)
        self.requested |= set(wanted.get(55, b""))
        kind = OFFER if wanted.get(53) == bytes([DISCOVER]) else ACK
        told = {53: bytes([kind]), 54: ROUTER, 51: struct.pack(">I", LEASE_SECONDS), 1: b"\xff\xff\xff\0", 3: ROUTER, 6: ROUTER, 42: TIME}
        head = b"\x02" + asked[1:4] + asked[4:8] + asked[8:12] + bytes(4) + BOX + ROUTER + asked[24:236] + asked[236:240]
        return head + b"".join(bytes([number, len(value)]) + value for number, value in told.items()) + b"\xff"

    def ntp(self, asked):
        stamp = int((time.time() + self.ahead + 2_208_988_800) * (1 << 32)).to_bytes(8, "big")
        return b"\x24\x01\x06\xec" + bytes(8) + b"TEST" + stamp + asked[40:48] + stamp + stamp

    def dns(self, asked):
        """The question comes back, with the answer if it is known; else there is no such name, or none of that kind."""
        end = asked.index(0, 12) + 5
        labels, at = [], 12
        while asked[at]:
            labels.append(asked[at + 1 : at + 1 + asked[at]].decode())
            at += 1 + asked[at]
        known = ".".join(labels).lower() == CLOCK
        found = known and asked[at + 1 : at + 3] == b"\0\x01"
        answer = b"\xc0\x0c\0\x01\0\x01" + struct.pack(">IH", 60, len(TIME)) + TIME if found else b""
        return asked[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, int(found), 0, 0) + asked[12:end] + answer

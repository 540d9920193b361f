"""Event files for TensorBoard, written without it: what its own writer, or PyTorch's SummaryWriter, makes of scalars.

A file is a row of records: the length (8 bytes), its checksum, the data, its checksum (TFRecord; numbers little-endian, checksums
CRC-32C, masked). The data is a protocol buffer: tensorflow.Event with 1 wall_time (double), 2 step (int64), 3 file_version or
5 summary; Summary with 1 value; Summary.Value with 1 tag and 2 simple_value (float).
"""

import os
import socket
import struct
import time


def _table():
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        yield value


_TABLE = tuple(_table())


def _checksum(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(value):
    value &= (1 << 64) - 1  # a negative step has all its bits
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _bytes(field, data):
    return _varint(field << 3 | 2) + _varint(len(data)) + data


class EventWriter:
    """One event file in a directory; each scalar is in it when add_scalar returns: a killed run leaves its curves."""

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        name = "events.out.tfevents.{}.{}.{}".format(int(time.time()), socket.gethostname(), os.getpid())
        self._file = open(os.path.join(directory, name), "wb", buffering=0)
        self._add(_bytes(3, b"brain.Event:2"))

    def add_scalar(self, tag, value, step):
        summary = _bytes(1, _bytes(1, tag.encode()) + b"\x15" + struct.pack("<f", value))
        self._add(b"\x10" + _varint(step) + _bytes(5, summary))

    def _add(self, fields):
        event = b"\x09" + struct.pack("<d", time.time()) + fields
        length = struct.pack("<Q", len(event))
        self._file.write(length + _checksum(length) + event + _checksum(event))

    def close(self):
        self._file.close()

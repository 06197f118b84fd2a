"""Reads a run's logs (include/evalmpi/store/record_log.h, engine/chunk.h) as far as tests need: which requests each record answers."""
import glob
import os
import re
import struct


def frames(data):
    """Payloads of the complete frames of a log's bytes; the first is the header."""
    offset = 0
    while offset + 12 <= len(data):
        length, _, payload_crc = struct.unpack_from("<III", data, offset)
        payload = data[offset + 12: offset + 12 + length]
        if len(payload) < length or crc32c(payload) != payload_crc:
            return
        yield payload
        offset += 12 + length


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = CRC_TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC_TABLE = crc_table()


def keys_of(record):
    """The request keys of one record: kind:u8 class:u128 tokens:i64, scores, generations."""
    offset, keys = 25, []
    for array_widths, fixed_bytes in (((4, 1), 0), ((4,), 13)):
        count, = struct.unpack_from("<I", record, offset)
        offset += 4
        for _ in range(count):
            keys.append(record[offset: offset + 16])
            offset += 16
            for width in array_widths:
                length, = struct.unpack_from("<I", record, offset)
                offset += 4 + width * length
            offset += fixed_bytes
    if offset != len(record):
        raise ValueError("not a record of this version")
    return keys


def answered(output):
    """attempt -> request keys of the complete records in its logs, with repetitions."""
    attempts = {}
    for path in glob.glob(os.path.join(glob.escape(output), "log", "*.log")):
        attempt = int(re.search(r"-attempt(\d+)-", path).group(1))
        with open(path, "rb") as file:
            payloads = list(frames(file.read()))
        for record in payloads[1:]:
            attempts.setdefault(attempt, []).extend(keys_of(record))
    return attempts


def computed_twice(output):
    """Requests that were answered durably and then again, in the same attempt or a later one."""
    seen, twice = set(), 0
    for _, keys in sorted(answered(output).items()):
        for key in keys:
            twice += key in seen
            seen.add(key)
    return twice

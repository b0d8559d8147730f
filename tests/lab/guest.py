"""The lab's guest: a boot sector that counts on its own disk, so that who looks at the image sees whether it executes.

It needs 16 MiB, no download, 0.1 s to boot and half a percent of a core: between two counts it halts. Sector 1 of its
image, little-endian:

    0   8 bytes  "corolab" and a zero: never touched by the guest
    8   u32      starts: how often the guest has booted from this image
    12  u32      count: one more eight times a second, whichever node it runs on

It turns itself off when ACPI's power button is pressed (`virsh shutdown`). That holds for the machine type "pc", and the
disk is best on IDE: the firmware's way to a virtio disk costs ten times as much.
"""

import struct
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
MAGIC = b"corolab\0"
COUNTS = struct.Struct("<8sII")

# 16-bit code at 0000:7c00; sector 1 is kept at 0000:7e00; 0x600 is where the firmware puts the power management of "pc".
# The clock is the RTC at 8 Hz with a handler of our own: the firmware's own clock would wake us 18 times a second.
CODE = bytes.fromhex(
    "fa 31c0 8ed8 8ec0"  #   00  cli; xor ax, ax; mov ds, ax; mov es, ax
    "8ed0 bc007c"  #             mov ss, ax; mov sp, 0x7c00
    "c706c0016f7c a3c201"  #     mov word [0x70 * 4], 0x7c00 + clock; mov [0x70 * 4 + 2], ax: interrupt 8 is 0x70
    "b80a2d e84d00"  #           mov ax, 0x2d0a (register A: 8 Hz); call rtc
    "b80b42 e84700"  #           mov ax, 0x420b (register B: periodic interrupt); call rtc
    "b0fb e621 b0fe e6a1"  #     mov al, 0xfb; out 0x21, al; mov al, 0xfe; out 0xa1, al: no interrupt but 8
    "ba0206 b80001 ef"  #        mov dx, 0x602 (power management: enable); mov ax, 0x100 (power button); out dx, ax
    "b80102 e82600"  #           mov ax, 0x0201 (read one sector); call disk
    "66ff06087e"  #              inc dword [0x7e08]: starts
    "66ff060c7e"  #          3b  next: inc dword [0x7e0c]: count
    "b80103 e81600"  #           mov ax, 0x0301 (write one sector); call disk
    "ba0006 ed f6c401 7505"  #   mov dx, 0x600 (power management: status); in ax, dx; test ah, 1 (power button); jnz off
    "fb f4 fa ebe7"  #           sti; hlt; cli; jmp next
    "ba0406 b80020 ef f4"  # 54  off: mov dx, 0x604 (power management: control); mov ax, 0x2000 (soft off); out dx, ax; hlt
    "bb007e b90200"  #       5c  disk: mov bx, 0x7e00; mov cx, 2 (cylinder 0, second sector)
    "ba8000 cd13 c3"  #          mov dx, 0x80 (head 0, first disk); int 0x13; ret
    "e670 88e0 e671 c3"  #   68  rtc: out 0x70, al; mov al, ah; out 0x71, al; ret
    "50 b00c e670 e471"  #   6f  clock: push ax; mov al, 12; out 0x70, al; in al, 0x71: taken note of
    "b020 e6a0 e620 58 cf"  #    mov al, 0x20; out 0xa0, al; out 0x20, al; pop ax; iret
)


class Counts(NamedTuple):
    """What the guest has written into its image."""

    starts: int
    count: int


def image(size: int = 1 << 20) -> bytes:
    """A disk image the guest boots from, never started yet."""
    boot = CODE.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"
    return (boot + COUNTS.pack(MAGIC, 0, 0)).ljust(size, b"\0")


def counts(path: Path) -> Counts:
    """What is in the image now; ValueError when it is none of `image`."""
    with path.open("rb") as file:
        file.seek(SECTOR)
        magic, starts, count = COUNTS.unpack(file.read(COUNTS.size))
    if magic != MAGIC:
        raise ValueError(f"{path} is no image of the lab's guest")
    return Counts(starts, count)

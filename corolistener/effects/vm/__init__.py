"""VMs of flesh and blood, through libvirt: one driver for QEMU, Xen and libvirt's own test hypervisor.

`hypervisor` is the neighbour that the daemon wires; `lines` are its connections, `sight` what it reads, `acts` what it
does, `texts` what is written in a definition, `storages` where disks lie. No other room may import libvirt.
"""

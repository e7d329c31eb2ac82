#!/bin/busybox sh
# The first process of a guest: gets the machine ready, runs the trial, turns the machine off.
# Standard output is the kernel's console; the second serial line takes what is a result, a JSON object a line.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
for fs in tracefs:/sys/kernel/tracing debugfs:/sys/kernel/debug bpf:/sys/fs/bpf cgroup2:/sys/fs/cgroup; do
    mount -t "${fs%%:*}" none "${fs#*:}"
done
for module in /modules/*.ko; do insmod "$module" || echo "init: no $module"; done
stty -F /dev/ttyS1 raw
btf=false
[ -r /sys/kernel/btf/vmlinux ] && btf=true
echo "{\"kernel\":\"$(uname -r)\",\"btf\":$btf}" >/dev/ttyS1
ip link set lo up
mount -t ext4 /dev/vda /disk
kafkascope-host-trial --probe /bin/kafkascope-probe --folder /disk >/dev/ttyS1 2>/dev/ttyS0
echo "{\"end\":$?}" >/dev/ttyS1
sync
poweroff -f

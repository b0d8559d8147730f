# The story of tests/lab/test_watchdog_systemd.py, told inside the guest. What never comes ends with the guest's own limit.
dog=/sys/class/watchdog/watchdog0/state

count() { grep -c -- "$1" /run/told; }
await() { until [ "$(count "$1")" -ge "$2" ]; do sleep 0.2; done; }
fed() { await '^fed' $(($(count '^fed') + 3)); }
say() {
    kept=$(systemctl show -P NFileDescriptorStore corolistener.service)
    echo "story: $1: opened=$(count adopted=no) adopted=$(count adopted=yes) kept=$kept $(cat $dog)"
}

fed
say armed
systemctl kill --signal=KILL corolistener.service
await adopted=yes 1
fed
say killed
systemctl restart corolistener.service
await adopted=yes 2
fed
say restarted
systemctl stop corolistener.service
await disarmed 1
while [ "$(systemctl show -P NFileDescriptorStore corolistener.service)" != 0 ]; do sleep 0.2; done
say stopped
echo 3000 >/run/timeout_ms
systemctl start corolistener.service
await adopted=no 2
fed
say started
echo "story: starving"
systemctl kill --signal=STOP corolistener.service
sleep 40
busybox poweroff -f

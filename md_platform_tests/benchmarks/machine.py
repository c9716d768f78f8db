"""What a process and the whole machine took of its cores: whose they were while something was measured."""

import psutil


def cpu_s(process: psutil.Process) -> float:
    """CPU that the process has used, kernel included, without its children."""
    times = process.cpu_times()
    return times.user + times.system


def machine_cpu_s() -> float:
    """CPU that everything on this machine has used."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice

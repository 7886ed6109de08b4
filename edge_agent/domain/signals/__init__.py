"""What decides the lights, pure: sensing, green times, stages, interlock, leases, and what is logged of them.

Flow of one step, some ten times a second::

    sensing.Situation ─> green.GreenTime ─> controller.Controller ─> interlock.Interlock ─> SignalHeads
     (what lanes tell)    (which stage)      (stage -> aspects)        (last word)            (driver)
                                                   └──────────> hires, cycles (what is logged)

`now_s` is monotonic and an argument everywhere. Nothing here imports numpy, pydantic or vision: the daemon that
runs it is to stay below 30 MB.
"""

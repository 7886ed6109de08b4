/* The tables of leases.py. Written by `python -m tests.verify.leases --write`; do not edit. */

#define H_RED 0
#define H_GREEN 1
#define H_YELLOW 2
#define H_FLASH 3
#define H_DARK 4

#define E_GRANTED 0
#define E_REFUSED 1
#define E_EXPIRED 2
#define E_YELLOW_OVER 3
#define E_FLASH_TOLD 4
#define E_DARK_TOLD 5
#define E_LOST 6
#define E_FAULT 7

#define C_UNKNOWN 0
#define C_HELD 1
#define C_CLEARING 2
#define C_FREE 3

#define D_ACCEPTED 0
#define D_ESTRANGED 1
#define D_GRANTED 2
#define D_RELEASED 3
#define D_OVER 4

#define HOLDS(s) ((s) == H_GREEN || (s) == H_YELLOW || (s) == H_FLASH || (s) == H_DARK)

inline head_on(s, e) {
  if
  :: s == H_RED && e == E_GRANTED -> s = H_GREEN
  :: s == H_RED && e == E_FLASH_TOLD -> s = H_FLASH
  :: s == H_RED && e == E_DARK_TOLD -> s = H_FLASH
  :: s == H_RED && e == E_LOST -> s = H_FLASH
  :: s == H_RED && e == E_FAULT -> s = H_FLASH
  :: s == H_GREEN && e == E_REFUSED -> s = H_YELLOW
  :: s == H_GREEN && e == E_EXPIRED -> s = H_YELLOW
  :: s == H_GREEN && e == E_FLASH_TOLD -> s = H_FLASH
  :: s == H_GREEN && e == E_DARK_TOLD -> s = H_FLASH
  :: s == H_GREEN && e == E_LOST -> s = H_FLASH
  :: s == H_GREEN && e == E_FAULT -> s = H_FLASH
  :: s == H_YELLOW && e == E_YELLOW_OVER -> s = H_RED
  :: s == H_YELLOW && e == E_FLASH_TOLD -> s = H_FLASH
  :: s == H_YELLOW && e == E_DARK_TOLD -> s = H_FLASH
  :: s == H_YELLOW && e == E_FAULT -> s = H_FLASH
  :: s == H_FLASH && e == E_GRANTED -> s = H_RED
  :: s == H_FLASH && e == E_REFUSED -> s = H_RED
  :: s == H_FLASH && e == E_DARK_TOLD -> s = H_DARK
  :: s == H_DARK && e == E_GRANTED -> s = H_RED
  :: s == H_DARK && e == E_REFUSED -> s = H_RED
  :: s == H_DARK && e == E_FLASH_TOLD -> s = H_FLASH
  :: s == H_DARK && e == E_LOST -> s = H_FLASH
  :: s == H_DARK && e == E_FAULT -> s = H_FLASH
  :: else -> skip
  fi
}

inline hold_on(s, e) {
  if
  :: s == C_UNKNOWN && e == D_ACCEPTED -> s = C_HELD
  :: s == C_HELD && e == D_ESTRANGED -> s = C_UNKNOWN
  :: s == C_HELD && e == D_GRANTED -> s = C_HELD
  :: s == C_HELD && e == D_RELEASED -> s = C_CLEARING
  :: s == C_HELD && e == D_OVER -> s = C_FREE
  :: s == C_CLEARING && e == D_ESTRANGED -> s = C_UNKNOWN
  :: s == C_CLEARING && e == D_GRANTED -> s = C_HELD
  :: s == C_CLEARING && e == D_OVER -> s = C_FREE
  :: s == C_FREE && e == D_ESTRANGED -> s = C_UNKNOWN
  :: s == C_FREE && e == D_GRANTED -> s = C_HELD
  :: else -> skip
  fi
}


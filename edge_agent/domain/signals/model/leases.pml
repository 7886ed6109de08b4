/*
 * The leases between one coordinator and two heads that conflict, for spin: `make verify`.
 *
 * What the parties do is by the code's own tables (tables.pml). The network loses, delays without bound, doubles and
 * reorders; up to ASKS asks are under way at once. Coordinator and heads may be started anew at any moment, any
 * number of times; a head that dies turns red (dead-man), and has on disk whom it obeys. A clock may lose (heads) or
 * gain (coordinator) a tick within a lease or hold: the worse way for each.
 *
 * With STANDS_STILL clocks are right, and a head may stand still for a tick at the end of its green, and again at that
 * of its yellow: what it shows next is lit so late, and lasts from then on.
 *
 * It allows more than the code does, never less, which keeps the number of states small:
 * - A refusal needs no message: a head may do at any moment what it does when refused, or flash, or go dark, or obey
 *   the coordinator of this moment. So only grants are under way.
 * - What nobody would take any more is removed: asks older than the newest that came, grants for older asks, grants
 *   of a coordinator whom the head does not obey any more. A grant for a head is only made after that head said that
 *   it obeys; so one that is under way is of the coordinator that the head obeys, until it obeys another. How many
 *   coordinators there were is no matter then: a head obeys the present one (`ours`), or not.
 * - The coordinator grants as it likes, as often as it likes, wherever the rules let it. Its second line, the wait
 *   after its start, is left out: what each head says has to suffice.
 * - No red is needed between flash and green.
 */

#include "tables.pml"

#ifdef FROM_STEP
#define YELLOW 2                              /* so that some is left */
#endif
#ifndef LEASE
#define LEASE 2
#endif
#ifndef YELLOW
#define YELLOW 1
#endif
#define RED 1

#ifdef STANDS_STILL
#ifdef SHORT_GUARD
#define GUARD 1
#else
#define GUARD 2                               /* LeaseTimes.guard_s */
#endif
#else
#define GUARD 0
#endif

#if defined(NO_DRIFT_GUARD) || defined(STANDS_STILL)
#define DRIFT 0
#else
#define DRIFT 1
#endif

#ifdef LEASE_ONLY
#define TAKEN LEASE
#else
#define TAKEN (LEASE + YELLOW + RED + DRIFT + GUARD)  /* LeaseTimes.hold_s */
#endif

#define CLEARING (RED + DRIFT)                /* LeaseTimes.clearing_s */
#define USABLE (LEASE - DRIFT)                /* Head._granted */

#ifndef ASKS
#define ASKS 2
#endif
#define NONE 2

/* Heads. */
byte state[2];             /* H_... */
bit dead[2];               /* only where outputs are latched */
byte left[2];              /* ticks of lease or yellow, by its own clock */
byte age[2];               /* ticks since its newest ask, by its own clock */
byte red[2];               /* real ticks without green and yellow; with STANDS_STILL, while yellow, with it */
bit stood[2];              /* has stood still in this green or yellow */
bit lost_since_ask[2];     /* its clock lost a tick since the newest ask */
bit lost_in_lease[2];      /* and since the ask of the lease that it uses */
bit ours[2];               /* obeys the coordinator that runs now */
bit granted[2];            /* a grant for its newest ask is under way */

/* The coordinator. */
byte hold[2];              /* C_... */
byte taken[2];             /* ticks left of that, by its own clock */
bit gained[2];             /* its clock gained a tick within that */
bit knows_newest[2];       /* the newest ask that came is the newest that was sent */

/* Asks under way, older ones first. head NONE: empty. */
byte ask_head[ASKS];
bit ask_holds[ASKS], ask_ours[ASKS], ask_newest[ASKS];

byte i, j, before;         /* of the step that is done; 0 between steps */

#define IS_OPEN(h) (state[h] == H_GREEN || state[h] == H_YELLOW)
#define IS_TAKEN(h) (hold[h] == C_HELD || hold[h] == C_CLEARING)

inline tidy() { i = 0; j = 0; before = 0 }

/* An event comes to a head; whatever turns green is judged here. */
inline happens(h, e) {
  before = state[h];
  head_on(state[h], e);
  if
  :: before != H_GREEN && state[h] == H_GREEN ->
     assert(!IS_OPEN(1 - h));      /* no two that conflict are green or yellow together */
     assert(red[1 - h] >= RED)     /* and the other one was red for the clearance */
  :: else -> skip
  fi;
#ifdef STANDS_STILL
  if
  :: before == H_YELLOW && e == E_YELLOW_OVER -> assert(red[h] >= YELLOW)  /* however late it was lit */
  :: before != state[h] && IS_OPEN(h) -> red[h] = 0
  :: else -> skip
  fi;
#endif
  if
  :: before == H_GREEN && state[h] == H_YELLOW ->
#ifdef FROM_STEP
     left[h] = YELLOW - stood[h];
#else
     left[h] = YELLOW;
#endif
     stood[h] = 0
  :: IS_OPEN(h) -> skip
  :: else -> left[h] = 0; lost_in_lease[h] = 0; stood[h] = 0
  fi;
  if
  :: (before == H_GREEN || before == H_YELLOW) && !IS_OPEN(h) -> red[h] = 0
  :: else -> skip
  fi;
  before = 0
}

/* Empty places go to the end; nothing else changes its place. */
inline close_up() {
  i = 0; j = 0;
  do
  :: i < ASKS ->
     if
     :: ask_head[i] != NONE && i != j ->
        ask_head[j] = ask_head[i]; ask_holds[j] = ask_holds[i];
        ask_ours[j] = ask_ours[i]; ask_newest[j] = ask_newest[i];
        ask_head[i] = NONE; ask_holds[i] = 0; ask_ours[i] = 0; ask_newest[i] = 0;
        j++
     :: ask_head[i] != NONE && i == j -> j++
     :: else -> ask_holds[i] = 0; ask_ours[i] = 0; ask_newest[i] = 0
     fi;
     i++
  :: else -> break
  od
}

/* Nothing that answers an earlier ask counts any more. */
inline forget(h) {
  granted[h] = 0;
  knows_newest[h] = 0;
  i = 0;
  do
  :: i < ASKS -> if :: ask_head[i] == h -> ask_newest[i] = 0 :: else -> skip fi; i++
  :: else -> break
  od
}

inline ask(h) {
  forget(h);
  age[h] = 0;
  lost_since_ask[h] = 0;
  close_up();
  if
  :: j < ASKS ->
     ask_head[j] = h; ask_newest[j] = 1; ask_ours[j] = ours[h];
#ifdef FALSE_RELEASE
     ask_holds[j] = 0
#else
     ask_holds[j] = HOLDS(state[h])
#endif
  :: else -> skip          /* it is lost */
  fi;
  tidy()
}

/* An ask comes to the coordinator, and with it all older ones of this head lose their worth. */
inline take_ask(k) {
  j = ask_head[k];
  knows_newest[j] = ask_newest[k];
  if
  :: ask_ours[k] ->
     if
     :: hold[j] == C_UNKNOWN ->
        hold_on(hold[j], D_ACCEPTED); taken[j] = TAKEN; gained[j] = 0;
#ifdef NO_WAIT
        hold[j] = C_FREE; taken[j] = 0
#endif
     :: else -> skip
     fi;
     if
     :: !ask_holds[k] && hold[j] == C_HELD ->
        hold_on(hold[j], D_RELEASED);
        if :: taken[j] > CLEARING -> taken[j] = CLEARING; gained[j] = 0 :: else -> skip fi
     :: else -> skip
     fi
  :: else -> hold_on(hold[j], D_ESTRANGED); taken[j] = 0; gained[j] = 0
  fi;
  i = 0;
  do
  :: i <= k -> if :: ask_head[i] == j -> ask_head[i] = NONE :: else -> skip fi; i++
  :: else -> break
  od;
  close_up();
  tidy()
}

inline lose_ask(k) { ask_head[k] = NONE; close_up(); tidy() }

/* The newest ask that came is answered. To one that is not the newest that was sent, the answer is worthless. */
inline grant(h) {
  hold_on(hold[h], D_GRANTED);
  taken[h] = TAKEN; gained[h] = 0;
  granted[h] = granted[h] || knows_newest[h]
}

/* A grant comes, and may come again. */
inline take_grant(h) {
#ifdef FROM_RECEIPT
  age[h] = 0; lost_since_ask[h] = 0;
#endif
  if
  :: (state[h] == H_RED || state[h] == H_GREEN) && age[h] < USABLE ->
     happens(h, E_GRANTED);
     left[h] = USABLE - age[h];
     stood[h] = 0;
     lost_in_lease[h] = lost_since_ask[h]
  :: state[h] == H_FLASH || state[h] == H_DARK -> happens(h, E_GRANTED)
  :: else -> skip
  fi;
  tidy()
}

inline obey(h) {
  ours[h] = 1; granted[h] = 0;
  happens(h, E_REFUSED);
  tidy()
}

/* A real tick for one head; loses: not for its clock. */
inline tick_head(h, loses) {
  if
  :: !IS_OPEN(h) && red[h] < RED -> red[h]++
#ifdef STANDS_STILL
  :: state[h] == H_YELLOW && red[h] < YELLOW -> red[h]++
#endif
  :: else -> skip
  fi;
  if
  :: loses -> lost_since_ask[h] = (age[h] < LEASE); lost_in_lease[h] = IS_OPEN(h)
  :: !loses && !dead[h] ->
     if :: age[h] < LEASE -> age[h]++ :: else -> skip fi;
     if :: age[h] == LEASE -> lost_since_ask[h] = 0 :: else -> skip fi;
     if
     :: IS_OPEN(h) ->
        left[h]--;
        if
        :: left[h] == 0 && state[h] == H_GREEN -> happens(h, E_EXPIRED)
        :: left[h] == 0 && state[h] == H_YELLOW -> happens(h, E_YELLOW_OVER)
        :: else -> skip
        fi
     :: else -> skip
     fi
  :: else -> skip
  fi
}

inline tick_hold(h, by) {
  if
  :: IS_TAKEN(h) ->
     gained[h] = gained[h] || (by > 1);
     if
     :: taken[h] > by -> taken[h] = taken[h] - by
     :: else -> taken[h] = 0; gained[h] = 0; hold_on(hold[h], D_OVER)
     fi
  :: else -> skip
  fi
}

inline tick(loses_0, loses_1, gains) {
  tick_head(0, loses_0);
  tick_head(1, loses_1);
  tick_hold(0, 1 + gains);
  tick_hold(1, 1 + gains);
  tidy()
}

inline restart_head(h) {
  forget(h);
#ifdef LATCHED
  dead[h] = 0;
#endif
  if :: IS_OPEN(h) -> red[h] = 0 :: else -> skip fi;
  state[h] = H_RED; left[h] = 0; stood[h] = 0; age[h] = LEASE; lost_since_ask[h] = 0; lost_in_lease[h] = 0;
  tidy()
}

inline restart_coordinator() {
  i = 0;
  do
  :: i < ASKS -> ask_ours[i] = 0; i++
  :: else -> break
  od;
  i = 0;
  do
  :: i < 2 -> ours[i] = 0; hold[i] = C_UNKNOWN; taken[i] = 0; gained[i] = 0; knows_newest[i] = 0; i++
  :: else -> break
  od;
  tidy()
}

#define MAY_GRANT(h) (hold[h] != C_UNKNOWN && hold[1 - h] == C_FREE)
#ifdef STANDS_STILL
#define CAN_STAND(h) (!dead[h] && IS_OPEN(h) && !stood[h])
#define CAN_LOSE(h) 0
#define CAN_GAIN 0
#else
#define CAN_STAND(h) 0
#define CAN_LOSE(h) (!dead[h] && !lost_since_ask[h] && !lost_in_lease[h] && (age[h] < LEASE || IS_OPEN(h)))
#define CAN_GAIN (!gained[0] && !gained[1] && (IS_TAKEN(0) || IS_TAKEN(1)))
#endif

#define OF_HEAD(h) \
  :: d_step { !dead[h] -> ask(h) } \
  :: d_step { CAN_STAND(h) -> stood[h] = 1; left[h]++ } \
  :: d_step { MAY_GRANT(h) -> grant(h) } \
  :: d_step { granted[h] && !dead[h] -> take_grant(h) } \
  :: d_step { granted[h] -> granted[h] = 0 } \
  :: d_step { !dead[h] && !ours[h] -> obey(h) } \
  :: d_step { !dead[h] && state[h] != H_RED && state[h] != H_YELLOW -> happens(h, E_REFUSED); tidy() } \
  :: d_step { !dead[h] && state[h] != H_FLASH -> happens(h, E_FAULT); tidy() } \
  :: d_step { !dead[h] && (state[h] == H_RED || state[h] == H_FLASH) -> happens(h, E_DARK_TOLD); tidy() } \
  :: d_step { restart_head(h) }

#define OF_ASK(k) \
  :: d_step { ask_head[k] != NONE -> take_ask(k) } \
  :: d_step { ask_head[k] != NONE -> lose_ask(k) }

active proctype world() {
  d_step {
    i = 0;
    do
    :: i < 2 -> state[i] = H_RED; red[i] = RED; age[i] = LEASE; hold[i] = C_UNKNOWN; i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < ASKS -> ask_head[i] = NONE; i++
    :: else -> break
    od;
    tidy()
  };
  do
#ifdef LATCHED
  :: d_step { !dead[0] -> dead[0] = 1 }
  :: d_step { !dead[1] -> dead[1] = 1 }
#endif
  :: d_step { tick(0, 0, 0) }
  :: d_step { CAN_LOSE(0) -> tick(1, 0, 0) }
  :: d_step { CAN_LOSE(1) -> tick(0, 1, 0) }
  :: d_step { CAN_LOSE(0) && CAN_LOSE(1) -> tick(1, 1, 0) }
  :: d_step { CAN_GAIN -> tick(0, 0, 1) }
  :: d_step { CAN_GAIN && CAN_LOSE(0) -> tick(1, 0, 1) }
  :: d_step { CAN_GAIN && CAN_LOSE(1) -> tick(0, 1, 1) }
  :: d_step { CAN_GAIN && CAN_LOSE(0) && CAN_LOSE(1) -> tick(1, 1, 1) }
  OF_HEAD(0)
  OF_HEAD(1)
  OF_ASK(0)
  OF_ASK(1)
#if ASKS > 2
  OF_ASK(2)
#endif
  :: d_step { restart_coordinator() }
  od
}

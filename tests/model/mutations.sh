#!/bin/sh
# Shows that the model check is worth something: breaks the protocol headers, one line at a time, and demands that
# the check fails each time. What Batcher does in its .cc files is broken in batch_rig.h, which follows it.
#
#   mutations.sh [-n] [name...]      all, or those named; -n: only says which do not apply any more
#
# SRC: where the headers are (../../src), CXX: the compiler. Exits with 1 if a mutation survives.
set -u

here=$(cd "$(dirname "$0")" && pwd)
src=${SRC:-$here/../../src}
cxx=${CXX:-c++}
headers="aligned_memory.h atomics.h batch_state.h buffer_state.h copy_slots.h flush_buffer.h buffer_ring.h"
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT INT TERM
only_apply=no
if [ "${1-}" = -n ]; then
  only_apply=yes
  shift
fi
chosen=" $* "
caught=0
survived=0

# The check of what is in $work, until it fails; most mutations do at once.
check() {
  $cxx -std=c++20 -O1 -U_FORTIFY_SOURCE -w "$work/model_check.cc" -o "$work/model_check" || return 3
  timeout 900 "$work/model_check" --short --stop >"$work/out" 2>&1 || return
  timeout 900 "$work/model_check" --stop >"$work/out" 2>&1
}

copy_headers() {
  for header in $headers; do cp "$src/$header" "$work/$header" || exit 2; done
  cp "$here"/*.h "$here/model_check.cc" "$work" || exit 2
}

# mutate <name> <header> <sed script>
mutate() {
  case $chosen in "  " | *" $1 "*) ;; *) return ;; esac
  copy_headers
  cp "$work/$2" "$work/original"
  sed -E "$3" "$work/original" >"$work/$2"
  if cmp -s "$work/original" "$work/$2"; then
    printf '%-26s does not apply any more\n' "$1"
    survived=$((survived + 1))
    return
  fi
  if [ $only_apply = yes ]; then return; fi
  check
  case $? in
    0) verdict=SURVIVED survived=$((survived + 1)) ;;
    3) verdict="does not compile" survived=$((survived + 1)) ;;
    1 | 134 | 139) verdict="caught  $(tail -n 1 "$work/out" | tr -s ' ')" caught=$((caught + 1)) ;;
    124) verdict="ran too long" survived=$((survived + 1)) ;;
    *) verdict="went wrong: $(tail -n 1 "$work/out")" survived=$((survived + 1)) ;;
  esac
  printf '%-26s %s\n' "$1" "$verdict"
}

copy_headers
if [ $only_apply = no ] && ! check; then
  echo "The headers as they are do not pass:"
  cat "$work/out"
  exit 2
fi

# Left out because they change nothing that C++11 lets anybody see:
#   all_committed() with >=: the sum never exceeds the other side;
#   open_ stored before published_: the word opens after both;
#   is_round(), and tail_ in tail(), loaded relaxed: what the reader has read before gives the order;
#   accepted() without is_open(): beyond the end the sums never agree;
#   the word stored relaxed in seal() and end_flight(): sealed_ and retired_ carry the release;
#   reserve() without its release, or a slot's owner and bit taken relaxed: one of the two is enough for sum();
#   try_reserve() with a relaxed failure: the success that follows acquires;
#   close() relaxed: it gives numbers only, and who takes the items acquires in sum();
#   the pointer to the filling batch relaxed: what it points to is there for good, and the word gives the order;
#   the mark of a batch not yet open stored relaxed: open() releases it.
# Not run: reserve_alone(), for batchers of one producer; gate_fill_ stored relaxed, whose bad interleaving (within a few
# instructions of two threads, and a third that is late) does not come up in 200,000.
order='std::memory_order_'

# ---- Orders ----
mutate reserve-relaxed flush_buffer.h "/uint64_t reserve\\(/,/^  }/ s/${order}acq_rel/${order}relaxed/"
mutate open-relaxed flush_buffer.h "/void open\\(/,/^  }/ s/${order}seq_cst/${order}relaxed/"
mutate open-release flush_buffer.h "/void open\\(/,/^  }/ s/${order}seq_cst/${order}release/"
mutate word-relaxed flush_buffer.h "/uint64_t word\\(/ s/${order}[a-z_]+/${order}relaxed/"
mutate word-acquire flush_buffer.h "/uint64_t word\\(/ s/${order}seq_cst/${order}acquire/"
mutate position-relaxed flush_buffer.h "/position_\\.store/ s/${order}release/${order}relaxed/"
mutate base-relaxed flush_buffer.h "/base_\\.load/ s/${order}acquire/${order}relaxed/"
mutate try-reserve-relaxed flush_buffer.h "/bool try_reserve\\(/,/^  }/ s/${order}[a-z_]+/${order}relaxed/g"
mutate try-reserve-release flush_buffer.h "/bool try_reserve\\(/,/^  }/ { s/${order}acquire/${order}relaxed/; s/${order}seq_cst/${order}release/; }"
mutate try-reserve-acq-rel flush_buffer.h "/bool try_reserve\\(/,/^  }/ s/${order}seq_cst/${order}acq_rel/"
mutate mark-release batch_rig.h "/mark\\.store/ s/${order}seq_cst/${order}release/"
mutate mark-acquire batch_rig.h "/mark\\.load/ s/${order}seq_cst/${order}acquire/"
mutate done-relaxed atomics.h "/kOwnDoneStore/ s/${order}release/${order}relaxed/"
mutate common-done-relaxed copy_slots.h "/fetch_add\\(bytes/ s/${order}seq_cst/${order}relaxed/"
mutate common-watched-relaxed copy_slots.h "/bool commit_common\\(/,/^  }/ s/watched.load\\(${order}seq_cst/watched.load(${order}relaxed/"
mutate sum-relaxed copy_slots.h "/uint64_t sum\\(/,/^  }/ s/${order}seq_cst/${order}relaxed/"
mutate sum-acquire copy_slots.h "/uint64_t sum\\(/,/^  }/ s/${order}seq_cst/${order}acquire/"
mutate flags-relaxed copy_slots.h "/void set_flags\\(/,/^  }/ s/${order}seq_cst/${order}relaxed/"
mutate open-pointer-relaxed buffer_ring.h "/open_\\.load/ s/${order}[a-z_]+/${order}relaxed/"
mutate open-pointer-acquire buffer_ring.h "/open_\\.load/ s/${order}seq_cst/${order}acquire/"
mutate published-relaxed buffer_ring.h "/published_\\.store/ s/${order}release/${order}relaxed/"
mutate closed-relaxed buffer_ring.h "/closed_\\.store/ s/${order}release/${order}relaxed/"
mutate sealed-relaxed buffer_ring.h "/sealed_\\.store/ s/${order}release/${order}relaxed/"
mutate retired-relaxed buffer_ring.h "/retired_\\.store/ s/${order}release/${order}relaxed/"
mutate retired-load-relaxed buffer_ring.h "/uint64_t retired\\(/ s/${order}acquire/${order}relaxed/"

# ---- What comes first ----
mutate watched-before-done copy_slots.h "/bool commit_own\\(/,/^  }/ {
  s/^( *)Counter &done/\\1const bool told = slot.watched.load(Model::kOwnWatchedLoad) != 0; Counter \\&done/
  s/return slot.watched.*/return told;/
}"
mutate publish-opens-first buffer_ring.h "/void publish\\(/,/^  }/ {
  /buffer\\.open\\(/ d
  s/^( *)tail_\\.store/\\1buffer.open(admit ? static_cast<std::uint64_t>(fill_) : capacity_); tail_.store/
}"
mutate round-after-open buffer_ring.h "/void publish\\(/,/^  }/ {
  /^ *published_\\.store/ d
  s/^( *buffer\\.open\\(.*)/\\1 published_.store(published_.load(${order}relaxed) + 1, ${order}release);/
}"
mutate retire-before-end buffer_ring.h "/void retire\\(/,/^  }/ {
  /end_flight/ d
  s/^( *retired_\\.store.*)/\\1 at(number).end_flight();/
}"
mutate sealed-before-seal buffer_ring.h "/^  void seal\\(/,/^  }/ {
  /current\\(\\)\\.seal\\(/ d
  s/^( *)fill_ = 0;/\\1const std::uint64_t length = fill_; fill_ = 0;/
  s/^( *sealed_\\.store.*)/\\1 at(sealed_count() - 1).seal(length);/
}"
mutate word-before-sum buffer_ring.h "/bool accepted\\(/,/^  }/ {
  /^ *const std::uint64_t word =/ d
  s/^( *)const std::uint64_t sum =/\\1const std::uint64_t word = open.word(); const std::uint64_t sum =/
}"
mutate sealed-before-round buffer_ring.h "/bool accepted\\(/,/^  }/ {
  /^ *if \\(!sealed_committed/ d
  s/^( *)const std::uint64_t round = /\\1if (!sealed_committed()) return false; &/
}"
mutate try-reserve-in-two flush_buffer.h "/bool try_reserve\\(/,/^  }/ {
  s/return .*/if (const auto now = word_.load(${order}seq_cst); now != word) return word = now, false;/
  s/^ *std::memory_order_acquire\\);/    return word_.store(word + buffer_state::increment(more), ${order}seq_cst), true;/
}"
mutate close-in-two flush_buffer.h "/uint64_t close\\(/,/^  }/ {
  s/return .*/const std::uint64_t word = word_.load(${order}seq_cst);/
  s/^ *word_\\.exchange.*/    word_.store(buffer_state::closed(capacity_, BufferPhase::kSealed), ${order}seq_cst); return buffer_state::offset(word);/
}"
mutate mark-after-open batch_rig.h "/void open_next\\(/,/^  }/ {
  /set_mark/ d
  s/^( *filling_ = .*)/\\1 set_mark(block, mark);/
}"
mutate mark-after-look batch_rig.h "/bool look_at_pressure\\(/,/^  }/ {
  /set_mark/ d
  s/return (.*);/const bool seen = \\1; set_mark(*filling_, mark); return seen;/
}"
mutate copies-before-bytes batch_rig.h "/bool try_send\\(/,/^  }/ {
  /slots_\\.commit/ d
  s/^( *)(const unsigned round = .*)/\\1slots_.commit(slot, thread, block.buffer.index(), 1); \\2/
}"
mutate open-before-taken batch_rig.h "/void go_round\\(/,/^  }/ s/if \\(kBlocks > 1\\) open_next/open_next/"

# ---- What is looked at, and counted ----
mutate two-pens buffer_ring.h "/bool try_pen\\(/,/^  }/ s/if \\(offset > capacity_\\) return false;//"
mutate is-open-less buffer_state.h "/bool is_open\\(/,/^}/ s/<=/</"
mutate closed-is-open buffer_state.h "/uint64_t closed\\(/,/^}/ s/capacity \\+ 1/capacity/"
mutate open-stale-fill buffer_ring.h "/buffer\\.open\\(/ s/static_cast<std::uint64_t>\\(fill_\\)/std::uint64_t{0}/"
mutate pen-keeps-fill buffer_ring.h "/void take_pen\\(/,/^  }/ s/fill_ = offset;/(void)offset;/"
mutate rotate-unfree buffer_ring.h "/bool rotate\\(/,/^  }/ s/if \\(free_buffers\\(\\) == 0\\) return false;//"
mutate gate-has-room buffer_ring.h "/bool publish|void publish/,/^  }/ s/: capacity_\\)/: capacity_ - 1)/"
mutate own-not-counted buffer_ring.h "/void advance\\(/,/^  }/ { /count_own/ d; }"
mutate taken-not-counted buffer_ring.h "/void shift\\(/,/^  }/ { /count_taken/ d; }"
mutate end-not-counted flush_buffer.h "/void end_flight\\(/,/^  }/ { /count_taken/ d; }"
mutate committed-half flush_buffer.h "/bool all_committed\\(/,/^  }/ s/==/<=/"
mutate slot-not-marked copy_slots.h "/used_.*fetch_or/ d"
mutate slot-shared copy_slots.h "s/slot.owner.compare_exchange_strong\\(owner, thread, ${order}seq_cst\\)/(slot.owner.store(thread, ${order}seq_cst), true)/"
mutate tail-any-round buffer_ring.h "/bool tail\\(/,/^  }/ s/if \\(!is_round\\(round\\)\\) return false;//"
mutate accepted-any-round buffer_ring.h "/bool accepted\\(/,/^  }/ s/!is_round\\(round\\) \\|\\| //"
mutate accepted-not-sealed buffer_ring.h "/bool accepted\\(/,/^  }/ { /^ *if \\(!sealed_committed/ d; }"
mutate gate-any-copies buffer_ring.h "/bool accepted\\(/,/^  }/ s/if \\(fill > 0 /if (!at_gate /"
mutate gate-no-end buffer_ring.h "/void publish\\(/,/^  }/ { /gate_\\.set_position/ d; }"
mutate gate-word-early buffer_ring.h "/bool accepted\\(/,/^  }/ {
  /^ *const std::uint64_t word =/ d
  s/^( *)const std::uint64_t base =/\\1const std::uint64_t word = open.word(); const std::uint64_t base =/
}"
mutate fits-item-more batch_state.h "/bool fits\\(/,/^}/ s/ < / <= /"
mutate fits-any-items batch_state.h "/bool fits\\(/,/^}/ s/items\\(offset\\) < items\\(capacity\\) && //"
mutate fits-byte-more batch_state.h "/bool fits\\(/,/^}/ s/- bytes\\(offset\\)/- bytes(offset) + 1/"
mutate fits-byte-less batch_state.h "/bool fits\\(/,/^}/ s/length <= /length < /"
mutate mark-items-only batch_state.h "/bool has_reached\\(/,/^}/ s/, kBytesMask & \\(0 - kBytesEdge\\)/, 0/"
mutate mark-bytes-only batch_state.h "/bool has_reached\\(/,/^}/ s/pack\\(0 - kItemsEdge/pack(0/"
mutate mark-items-beyond batch_state.h "/uint64_t mark\\(/,/^}/ s/kItemsEdge - items/kItemsEdge - items - 1/"
mutate mark-bytes-beyond batch_state.h "/uint64_t mark\\(/,/^}/ s/kBytesEdge - bytes/kBytesEdge - bytes - 1/"
mutate place-no-slack batch_state.h "/uint64_t place\\(/,/^}/ s/ \\+ items\\(offset\\) \\* slack//"
mutate place-unaligned batch_state.h "/uint64_t place\\(/,/^}/ s/align_up\\((.*), alignment\\)/\\1/"
mutate goal-beyond flush_buffer.h "/bool has_reached\\(/,/^  }/ s/>= 0/> 0/"
mutate goal-short flush_buffer.h "/bool has_reached\\(/,/^  }/ s/>= 0/>= -1/"
mutate seal-counts-bytes batch_rig.h "/buffer\\.seal\\(/ s/::items/::bytes/"
mutate commit-counts-bytes batch_rig.h "/slots_\\.commit\\(/ s/, 1\\)/, length)/"
mutate copies-not-awaited batch_rig.h "/^ *await_copies\\(block, count\\);/ d"

[ $only_apply = yes ] || printf '%d of %d mutations caught\n' "$caught" "$((caught + survived))"
[ "$survived" -eq 0 ]

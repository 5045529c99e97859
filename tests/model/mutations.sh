#!/bin/sh
# Shows that the model check is worth something: breaks the protocol headers, one line at a time, and demands that
# the check fails each time.
#
#   mutations.sh [-n] [name...]      all, or those named; -n: only says which do not apply any more
#
# SRC: where the headers are (../../src), CXX: the compiler. Exits with 1 if a mutation survives.
set -u

here=$(cd "$(dirname "$0")" && pwd)
src=${SRC:-$here/../../src}
cxx=${CXX:-c++}
headers="atomics.h buffer_state.h copy_slots.h flush_buffer.h buffer_ring.h"
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

# The check of the headers in $work, until it fails; most mutations do at once.
check() {
  $cxx -std=c++20 -O1 -U_FORTIFY_SOURCE -w -I"$work" "$here/model_check.cc" -o "$work/model_check" || return 3
  timeout 900 "$work/model_check" --short --stop >"$work/out" 2>&1 || return
  timeout 900 "$work/model_check" --stop >"$work/out" 2>&1
}

copy_headers() {
  for header in $headers; do cp "$src/$header" "$work/$header" || exit 2; done
}

# mutate <name> <header> <sed script>
mutate() {
  case $chosen in "  " | *" $1 "*) ;; *) return ;; esac
  copy_headers
  sed -E "$3" "$src/$2" >"$work/$2"
  if cmp -s "$src/$2" "$work/$2"; then
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
#   reserve() without its release, or a slot's owner and bit taken relaxed: one of the two is enough for sum().
order='std::memory_order_'

# ---- Orders ----
mutate reserve-relaxed flush_buffer.h "/uint64_t reserve\\(/,/^  }/ s/${order}acq_rel/${order}relaxed/"
mutate open-relaxed flush_buffer.h "/void open\\(/,/^  }/ s/${order}seq_cst/${order}relaxed/"
mutate open-release flush_buffer.h "/void open\\(/,/^  }/ s/${order}seq_cst/${order}release/"
mutate word-relaxed flush_buffer.h "/uint64_t word\\(/ s/${order}[a-z_]+/${order}relaxed/"
mutate word-acquire flush_buffer.h "/uint64_t word\\(/ s/${order}seq_cst/${order}acquire/"
mutate position-relaxed flush_buffer.h "/position_\\.store/ s/${order}release/${order}relaxed/"
mutate base-relaxed flush_buffer.h "/base_\\.load/ s/${order}acquire/${order}relaxed/"
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
  s/^( *)const std::uint64_t sum =/\\1const std::uint64_t word = buffer.word(); const std::uint64_t sum =/
}"
mutate sealed-before-round buffer_ring.h "/bool accepted\\(/,/^  }/ {
  s/^( *)round = |^( *)const std::uint64_t round = /\\1if (!sealed_committed()) return false; &/
  s/ \\|\\| !sealed_committed\\(\\)//
}"

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
mutate accepted-not-sealed buffer_ring.h "/bool accepted\\(/,/^  }/ s/ \\|\\| !sealed_committed\\(\\)//"

[ $only_apply = yes ] || printf '%d caught, %d not\n' "$caught" "$survived"
[ "$survived" -eq 0 ]

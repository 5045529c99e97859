#include "note_list.h"

#include <cerrno>
#include <new>

namespace bwlib {

namespace {

void delete_chain(Note *note) noexcept {
  while (note) {
    Note *next = note->next;
    delete note;
    note = next;
  }
}

} // namespace

NoteList::~NoteList() {
  for (Note *chain : waiting_) delete_chain(chain);
  delete_chain(due_);
  delete_chain(spare_);
}

void NoteList::update_lowest(int level) noexcept {
  // Release: pairs with lowest(); changes under the mutex only.
  lowest_[level].store(waiting_[level] ? waiting_[level]->position : INT64_MAX, std::memory_order_release);
  if (!waiting_[level]) last_[level] = nullptr;
}

int NoteList::add(std::int64_t position, int level, void (*done)(void *, int), void *arg) noexcept {
  const std::lock_guard lock(mutex_);
  Note *note = spare_;
  if (note) {
    spare_ = note->next;
  } else {
    note = new (std::nothrow) Note;
    if (!note) return -ENOMEM;
  }
  *note = {done, arg, position, 0, false, nullptr};
  if (last_[level] && last_[level]->position <= position) {
    last_[level] = last_[level]->next = note;
    return 0;
  }
  // Behind the cancelled ones too, which wait for what was before them, not for what comes after.
  Note **link = &waiting_[level];
  while (*link && ((*link)->position <= position || (*link)->is_cancelled)) link = &(*link)->next;
  note->next = *link;
  *link = note;
  if (!note->next) last_[level] = note;
  update_lowest(level);
  return 0;
}

// The first ones at `level`: those up to `position`, with `code`, and the cancelled ones behind them.
void NoteList::push_due(int level, std::int64_t position, int code) noexcept {
  while (Note *note = waiting_[level]) {
    if (!note->is_cancelled) {
      if (note->position > position) break;
      note->code = code;
    }
    waiting_[level] = note->next;
    note->next = nullptr;
    (due_ ? due_last_->next : due_) = note;
    due_last_ = note;
    due_count_.fetch_add(1, std::memory_order_release);
  }
  update_lowest(level);
}

void NoteList::settle(int level, std::int64_t position, int code) noexcept {
  if (lowest(level) > position) return;
  const std::lock_guard lock(mutex_);
  push_due(level, position, code);
}

void NoteList::cancel(int level, std::int64_t position, int code) noexcept {
  const std::lock_guard lock(mutex_);
  for (Note *note = waiting_[level]; note; note = note->next) {
    if (note->position <= position || note->is_cancelled) continue;
    note->is_cancelled = true;
    note->code = code;
  }
  push_due(level, INT64_MIN, 0);
}

bool NoteList::next_due(Note &note) noexcept {
  const std::lock_guard lock(mutex_);
  Note *first = due_;
  if (!first) return false;
  due_ = first->next;
  due_count_.fetch_sub(1, std::memory_order_relaxed);
  note = *first;
  first->next = spare_;
  spare_ = first;
  return true;
}

} // namespace bwlib

#include "store/group_commit.hpp"

#include <algorithm>
#include <utility>

#include "runner/core/error.hpp"
#include "store/damage.hpp"
#include "store/sqlite_handle.hpp"
#include "store/wal_reserve.hpp"
#include "store/wal_sync.hpp"

namespace runner::store {
namespace {

constexpr std::size_t kMaxBatch = 64;  // bounds how long the first of a batch waits for the last

}  // namespace

struct GroupCommit::Request {
  Sync sync;
  const Work* work;  // nullptr: a checkpoint, which shares no transaction
  std::exception_ptr error;
  bool copied = false;       // the checkpoint's result
  std::uint64_t commit = 0;  // of its transaction, for WalSync
  enum class State { kWaiting, kLeader, kDone } state = State::kWaiting;
  std::condition_variable changed;
};

void GroupCommit::run(Sync sync, const Work& work) {
  Request request{.sync = sync, .work = &work, .error = nullptr, .changed = {}};
  take_turn(request);
  if (wal_ != nullptr && sync == Sync::kDurable) await(request.commit);
}

void GroupCommit::make_durable() {
  if (wal_ != nullptr) await(wal_->latest());
}

void GroupCommit::await(std::uint64_t commit) {
  try {
    wal_->await(commit);
  } catch (const Error& error) {
    // Copied into the file and synced there it is as durable, and so is what stands behind it.
    if (checkpoint()) return;
    if (error.code() != ErrorCode::kNoSpace) damage_.report(Damage::Kind::kRefused, error.message());
    throw;
  }
}

bool GroupCommit::checkpoint() {
  Request request{.sync = Sync::kRelaxed, .work = nullptr, .error = nullptr, .changed = {}};
  take_turn(request);
  return request.copied;
}

void GroupCommit::take_turn(Request& request) {
  std::vector<Request*> batch;
  std::unique_lock lock(mutex_);
  waiting_.push_back(&request);
  if (std::exchange(led_, true)) request.changed.wait(lock, [&] { return request.state != Request::State::kWaiting; });
  if (request.state != Request::State::kDone) {
    // A leader is always the oldest waiting caller, so its own request is in the batch.
    const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(std::min(waiting_.size(), kMaxBatch));
    batch.assign(waiting_.begin(), end);
    waiting_.erase(waiting_.begin(), end);
    lock.unlock();
    execute(batch);
    lock.lock();
    // Notified under the lock: a request lives on its caller's stack, which is gone soon after the lock is.
    for (Request* done : batch) {
      done->state = Request::State::kDone;
      if (done != &request) done->changed.notify_one();
    }
    led_ = !waiting_.empty();
    if (led_) {
      waiting_.front()->state = Request::State::kLeader;
      waiting_.front()->changed.notify_one();
    }
  }
  lock.unlock();
  if (request.error) std::rethrow_exception(request.error);
}

void GroupCommit::execute(std::span<Request* const> batch) noexcept {
  const bool shared = batch.size() > 1 && std::none_of(batch.begin(), batch.end(),
                                                       [](const Request* request) { return request->work == nullptr; });
  if (shared && execute_together(batch)) return;
  for (Request* request : batch) execute_alone(*request);
}

// False: the transaction as a whole failed and nothing of it stays; each request then gets one of its own, so that the
// one to blame fails alone.
bool GroupCommit::execute_together(std::span<Request* const> batch) noexcept {
  try {
    require_sound();
    const bool durable =
        std::any_of(batch.begin(), batch.end(), [](const Request* r) { return r->sync == Sync::kDurable; });
    begin(durable ? Sync::kDurable : Sync::kRelaxed);
    for (Request* request : batch) {
      writer_.run("SAVEPOINT request");
      try {
        (*request->work)(writer_);
      } catch (...) {
        request->error = std::current_exception();
        if (!writer_.in_transaction()) throw;  // SQLite has rolled back everything: disk full, I/O error
        writer_.run("ROLLBACK TO request");
      }
      writer_.run("RELEASE request");
    }
    writer_.run("COMMIT");
    if (wal_ != nullptr) {
      const std::uint64_t number = wal_->committed();
      for (Request* request : batch) request->commit = number;
    }
    give_room_back();
    return true;
  } catch (...) {
    roll_back();
    for (Request* request : batch) request->error = nullptr;
    return false;
  }
}

void GroupCommit::execute_alone(Request& request) noexcept {
  if (request.work == nullptr) {
    request.copied = !is_corrupt() && empty_wal();
    return;
  }
  try {
    require_sound();
    begin(request.sync);
    (*request.work)(writer_);
    writer_.run("COMMIT");
    if (wal_ != nullptr) request.commit = wal_->committed();
    give_room_back();
  } catch (const Error& error) {
    request.error = std::current_exception();
    roll_back();
    // What did not fit has left its pages in the WAL's file: without them there may be room for the next, smaller
    // thing.
    if (error.code() == ErrorCode::kNoSpace) full_ = !empty_wal();
  } catch (...) {
    request.error = std::current_exception();
    roll_back();
  }
}

// Nothing is written behind what may not be on the disk, nor to a file that is damaged. A disk that has refused
// something may take it by now.
void GroupCommit::require_sound() {
  if (damage_.may_be_over()) empty_wal();
  if (const auto error = damage_.found()) throw Error(*error);
}

bool GroupCommit::is_corrupt() const { return damage_.found() && !damage_.may_be_over(); }

void GroupCommit::mend() {
  if (damage_.may_be_over()) checkpoint();
}

void GroupCommit::begin(Sync sync) {
  if (wal_ == nullptr && sync != current_sync_) {  // takes effect when prepared, so it cannot be a cached statement
    writer_.execute(sync == Sync::kDurable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
    current_sync_ = sync;
  }
  writer_.run("BEGIN IMMEDIATE");
}

// What did not fit has left its pages in the WAL's file: without them there may be room for the next, smaller thing.
// While the disk is too full even to move them, every later commit tries again.
void GroupCommit::give_room_back() noexcept {
  if (full_) full_ = !empty_wal();
}

// Between two transactions, so that all that has been committed goes into the file.
bool GroupCommit::empty_wal() noexcept {
  const std::uint64_t latest = wal_ == nullptr ? 0 : wal_->latest();
  const bool reserved = reserve_.is_there();
  const bool emptied = writer_.checkpoint();
  reserve_.take_again(reserved);
  if (emptied && wal_ != nullptr) wal_->mended(latest);
  if (emptied) damage_.mended();
  return emptied;
}

void GroupCommit::roll_back() noexcept {
  try {
    if (writer_.in_transaction()) writer_.run("ROLLBACK");
  } catch (const Error&) {
    // ROLLBACK fails only when SQLite has rolled back by itself, which is what was wanted.
  }
}

}  // namespace runner::store

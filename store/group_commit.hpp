// Many callers, one writer: operations that arrive while a transaction runs share the next one.
// There is no thread: the first caller to find the writer free executes the batch itself (leader) and hands the lead to
// a waiting caller afterwards, which saves a lone caller two context switches and an idle daemon a thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

namespace runner::store {

class Connection;
class Damage;
class WalReserve;
class WalSync;

enum class Sync {
  kDurable,  // on disk when the call returns
  kRelaxed,  // committed and visible; a power cut may lose it, a killed process does not
};

class GroupCommit {
 public:
  using Work = std::function<void(Connection&)>;

  // With `wal` a commit that is to be durable is synced by that, beside the transactions of others, instead of by
  // SQLite inside its own: it is visible a moment before it is durable.
  GroupCommit(Connection& writer, WalSync* wal, WalReserve& reserve, Damage& damage)
      : writer_(writer), wal_(wal), reserve_(reserve), damage_(damage) {}

  // Runs `work` in a transaction and returns when it is committed; throws what `work` or the commit threw, and then
  // nothing of it stays. Error(kUnavailable) while the file is known to be damaged: then it is only read. Any
  // thread. `work` may run on another caller's thread, and twice when a shared transaction had to be rolled back: it
  // only sets its results, and never calls `run`.
  void run(Sync sync, const Work& work);

  // Between two transactions: copies the WAL into the file, syncs it and empties the WAL. False if a reader or a full
  // disk stood in the way. Any thread.
  bool checkpoint();

  // If the disk has refused something: whether it takes it now. Any thread.
  void mend();

  // Returns when everything committed so far is on disk; throws what stood in the way. Any thread.
  void make_durable();

 private:
  struct Request;
  void take_turn(Request& request);
  void execute(std::span<Request* const> batch) noexcept;
  bool execute_together(std::span<Request* const> batch) noexcept;
  void execute_alone(Request& request) noexcept;
  void require_sound();
  bool is_corrupt() const;
  void begin(Sync sync);
  void roll_back() noexcept;
  void give_room_back() noexcept;
  bool empty_wal() noexcept;
  void await(std::uint64_t commit);

  Connection& writer_;
  WalSync* const wal_;
  WalReserve& reserve_;  // only the leader touches it
  Damage& damage_;
  Sync current_sync_ = Sync::kDurable;  // the connection's; only the leader touches it
  bool full_ = false;                   // the disk was: the WAL is to be emptied; only the leader touches it

  std::mutex mutex_;
  std::vector<Request*> waiting_;  // under mutex_
  bool led_ = false;               // under mutex_: some caller is the leader
};

}  // namespace runner::store

#include "store/reader_pool.hpp"

#include "runner/core/error.hpp"

namespace runner::store {

ReaderPool::Lease::~Lease() {
  const std::lock_guard lock(pool_.mutex_);
  pool_.idle_.push_back(std::move(connection_));
  pool_.returned_.notify_one();
}

ReaderPool::Lease ReaderPool::lease() { return Lease(*this, take()); }

std::unique_ptr<Connection> ReaderPool::take() {
  std::unique_lock lock(mutex_);
  returned_.wait(lock, [this] { return !idle_.empty() || open_ < limit_; });
  if (!idle_.empty()) {
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    return connection;
  }
  ++open_;
  lock.unlock();
  try {
    auto connection = std::make_unique<Connection>(path_, Connection::Mode::kReadOnly, damage_);
    connection->execute(setup_);
    return connection;
  } catch (...) {
    lock.lock();
    --open_;
    returned_.notify_one();
    throw;
  }
}

ReadTransaction::~ReadTransaction() {
  try {
    connection_.run("COMMIT");
  } catch (const Error&) {
    // A read transaction that SQLite has ended by itself after an I/O error.
  }
}

}  // namespace runner::store

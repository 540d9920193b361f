// A few read-only connections, opened when first needed. A lease is short: never held over a callback or I/O of others.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "store/sqlite_handle.hpp"

namespace runner::store {

class ReaderPool {
 public:
  // `setup` is a script of PRAGMAs for each connection; `damage` is told what they find wrong (nullptr: nobody).
  ReaderPool(std::filesystem::path path, std::string setup, std::size_t limit, Damage* damage)
      : path_(std::move(path)), setup_(std::move(setup)), limit_(limit), damage_(damage) {}

  // One connection for one thread; back in the pool when it goes out of scope.
  class Lease {
   public:
    Lease(ReaderPool& pool, std::unique_ptr<Connection> connection) : pool_(pool), connection_(std::move(connection)) {}
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Connection& operator*() const { return *connection_; }
    Connection* operator->() const { return connection_.get(); }

   private:
    ReaderPool& pool_;
    std::unique_ptr<Connection> connection_;
  };
  Lease lease();  // waits while all are out

 private:
  std::unique_ptr<Connection> take();

  const std::filesystem::path path_;
  const std::string setup_;
  const std::size_t limit_;
  Damage* const damage_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Connection>> idle_;  // under mutex_; the last one is the warmest
  std::size_t open_ = 0;                           // under mutex_
};

// Several queries that see one state of the database.
class ReadTransaction {
 public:
  explicit ReadTransaction(Connection& connection) : connection_(connection) { connection_.run("BEGIN"); }
  ~ReadTransaction();
  ReadTransaction(const ReadTransaction&) = delete;
  ReadTransaction& operator=(const ReadTransaction&) = delete;

 private:
  Connection& connection_;
};

}  // namespace runner::store

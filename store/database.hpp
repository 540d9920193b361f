// One database file as this folder uses it: a grouped writer, a few readers, WAL. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "store/damage.hpp"
#include "store/group_commit.hpp"
#include "store/migrations.hpp"
#include "store/reader_pool.hpp"
#include "store/sqlite_handle.hpp"
#include "store/wal_reserve.hpp"
#include "store/wal_sync.hpp"

namespace runner::store {

struct DatabaseOptions {
  int page_bytes = 4096;
  bool incremental_vacuum = false;  // fixed, like the page size, when the file is made
  bool enforce_foreign_keys = true;
  int writer_cache_kib = 1024;
  int reader_cache_kib = 512;
  int checkpoint_pages = 1000;  // the WAL's length at which a commit also copies it into the file
  std::size_t readers = 2;
  // Transactions go on while others are synced (wal_sync.hpp). What is read may then be a moment ahead of the disk:
  // make_durable() before it is passed on as a promise.
  bool sync_beside = false;
  std::int64_t reserve_bytes = 4 << 20;  // of the disk, kept for the WAL: wal_reserve.hpp
  bool readers_tell_damage = true;       // a reader that meets a page it cannot read is reason enough to write no more
};

class Database {
 public:
  // Opens, creates (0600) or migrates.
  Database(const std::filesystem::path& path, const Schema& schema, const DatabaseOptions& options);
  ~Database() { reserve_.keep(); }

  void make_durable() { commits_.make_durable(); }
  void write(Sync sync, const GroupCommit::Work& work) { commits_.run(sync, work); }
  const std::filesystem::path& path() const { return path_; }
  const Schema& schema() const { return schema_; }
  std::int64_t disk_bytes() const;  // what the file and its WAL take
  std::int64_t free_bytes() const;  // that this user may still write beside the file
  // For what can wait: Error(kNoSpace) when the disk has so little room that the rest is for what cannot.
  // kUnavailable while the file is only read.
  void require_room();
  bool has_room() const { return free_bytes() >= reserve_.bytes(); }
  // Error(kUnavailable) if the file has been found damaged and is only read.
  std::optional<Error> damage() const { return damage_.found(); }
  void forget_damage() { damage_.forget(); }  // before an index is made again: its rows are sound
  bool checkpoint() { return commits_.checkpoint(); }
  ReaderPool::Lease read() const { return readers_.lease(); }

 private:
  void open(const DatabaseOptions& options);

  const std::filesystem::path path_;
  const Schema schema_;
  Damage damage_;
  WalReserve reserve_;
  Connection writer_;
  std::unique_ptr<WalSync> wal_;
  GroupCommit commits_;
  mutable ReaderPool readers_;  // closed first
};

}  // namespace runner::store

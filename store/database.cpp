#include "store/database.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <limits>
#include <string>
#include <system_error>

#include "runner/os/file.hpp"

namespace runner::store {
namespace {

constexpr int kMigrationCacheKib = 64 << 10;

std::string pragma(const char* name, int value) {
  return "PRAGMA " + std::string(name) + "=" + std::to_string(value) + ";";
}

// SQLite would create the file with the umask's mode; WAL and shared memory take theirs from it.
const std::filesystem::path& create_private(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) os::open_file(path, O_RDWR | O_CREAT, 0600);
  return path;
}

std::filesystem::path wal_of(const std::filesystem::path& path) { return path.string() + "-wal"; }

bool has_wal(const std::filesystem::path& path) {
  std::error_code missing;
  const auto bytes = std::filesystem::file_size(wal_of(path), missing);
  return !missing && bytes > 0;
}

std::string reader_setup(const DatabaseOptions& options) {
  return "PRAGMA query_only=ON;" + pragma("cache_size", -options.reader_cache_kib) + "PRAGMA temp_store=MEMORY;";
}

}  // namespace

Database::Database(const std::filesystem::path& path, const Schema& schema, const DatabaseOptions& options)
    : path_(path),
      schema_(schema),
      reserve_(wal_of(path), options.reserve_bytes),
      writer_(create_private(path), Connection::Mode::kReadWrite, &damage_),
      wal_(options.sync_beside ? std::make_unique<WalSync>(wal_of(path)) : nullptr),
      commits_(writer_, wal_.get(), reserve_, damage_),
      readers_(path, reader_setup(options), options.readers, options.readers_tell_damage ? &damage_ : nullptr) {
  try {
    open(options);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInternal) throw;
    // No daemon can check a file that it cannot open: `fsck` is no way out.
    throw Error(error.code(), error.message(),
                "keep a copy of " + path.string() +
                    "; `sqlite3 FILE .recover | sqlite3 NEW` copies what can still be read "
                    "of it, and a copy from a backup may take its place while no daemon runs");
  }
}

void Database::open(const DatabaseOptions& options) {
  const bool crashed = has_wal(path_);
  if (refuse_foreign(writer_, schema_) == 0)  // facts of a new file; on another one they would be no more than writes
    writer_.execute(pragma("page_size", options.page_bytes) +
                    (options.incremental_vacuum ? "PRAGMA auto_vacuum=INCREMENTAL;" : ""));
  writer_.execute(
      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=OFF; PRAGMA trusted_schema=OFF;" +
      pragma("foreign_keys", options.enforce_foreign_keys ? 1 : 0) + pragma("cache_size", -kMigrationCacheKib) +
      pragma("journal_size_limit", 2 * options.checkpoint_pages * options.page_bytes));
  // With room for the pages that it comes back to; what it sorts may be more than there is memory.
  migrate(writer_, schema_);
  writer_.execute(pragma("cache_size", -options.writer_cache_kib) + "PRAGMA temp_store=MEMORY;");
  if (wal_) writer_.execute("PRAGMA synchronous=NORMAL;");
  writer_.checkpoint_from(options.checkpoint_pages);
  if (wal_) wal_->open();
  // A killed process may have left commits in the WAL that were never synced, or could not be; from here on what is
  // visible is durable. On a full disk they stay in the WAL, and are written there once more.
  if (!crashed) {
    reserve_.take();
  } else if (!commits_.checkpoint() && !store_again(wal_of(path_))) {
    damage_.report(Damage::Kind::kRefused, path_.filename().string() + ": what was written last could not be synced");
    if (wal_) wal_->distrust();
  }
}

void Database::require_room() {
  commits_.mend();
  if (const auto error = damage()) throw Error(*error);
  if (!has_room())
    throw Error(ErrorCode::kNoSpace, path_.filename().string() + ": the disk is full",
                "free some disk space and try again; `runner gc` frees what no run needs");
}

std::int64_t Database::disk_bytes() const {
  constexpr std::int64_t kBlock = 512;  // of st_blocks
  std::int64_t bytes = 0;
  for (const auto& file : {path_, wal_of(path_)}) {
    struct ::stat info {};
    if (::stat(file.c_str(), &info) == 0) bytes += kBlock * static_cast<std::int64_t>(info.st_blocks);
  }
  return bytes;
}

std::int64_t Database::free_bytes() const {
  struct ::statvfs info {};
  if (::statvfs(path_.c_str(), &info) != 0) return std::numeric_limits<std::int64_t>::max();  // writing will tell
  return static_cast<std::int64_t>(info.f_bavail) * static_cast<std::int64_t>(info.f_frsize);
}

}  // namespace runner::store

#include "store/backup.hpp"

#include <sqlite3.h>

#include <cerrno>
#include <string>
#include <utility>

#include "runner/core/error.hpp"

namespace runner::store {
namespace {

constexpr int kTries = 100;  // to begin both transactions without a collection between them
constexpr std::int64_t kStepBytes = 4 << 20;
constexpr int kBusyTimeoutMs = 2000;

struct CloseDatabase {
  void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
};
using DatabaseHandle = std::unique_ptr<sqlite3, CloseDatabase>;

Error backup_error(int result, sqlite3* handle, const std::string& attempted) {
  const std::string text = attempted + ": " + sqlite3_errmsg(handle);
  const int errnum = sqlite3_system_errno(handle);
  switch (result & 0xff) {
    case SQLITE_FULL:
      return Error(ErrorCode::kNoSpace, text, "free some disk space and try again");
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      return errnum != 0 ? errno_error(errnum, attempted) : Error(ErrorCode::kInternal, text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(ErrorCode::kUnavailable, text, "try again");
    default:
      return Error(ErrorCode::kInternal, text, "`runner fsck` says what is damaged");
  }
}

DatabaseHandle open_at(const std::filesystem::path& path, int flags) {
  sqlite3* opened = nullptr;
  const int result =
      sqlite3_open_v2(path.c_str(), &opened, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  DatabaseHandle handle(opened);
  if (result != SQLITE_OK) throw backup_error(result, opened, "open " + path.string());
  sqlite3_busy_timeout(opened, kBusyTimeoutMs);
  return handle;
}

}  // namespace

// A connection whose transaction stays where it began.
class Backup::Source {
 public:
  explicit Source(std::filesystem::path path) : path_(std::move(path)), handle_(open_at(path_, SQLITE_OPEN_READONLY)) {
    int stay = 1;  // as every connection: sqlite_handle.cpp
    sqlite3_file_control(handle_.get(), "main", SQLITE_FCNTL_PERSIST_WAL, &stay);
  }

  void begin() {
    execute("BEGIN");
    number("SELECT count(*) FROM sqlite_schema");  // the moment of a transaction is that of its first look
  }
  void end() { execute("COMMIT"); }

  std::int64_t number(const char* sql) const {
    sqlite3_stmt* statement = nullptr;
    int result = sqlite3_prepare_v2(handle_.get(), sql, -1, &statement, nullptr);
    if (result == SQLITE_OK) result = sqlite3_step(statement);
    const std::int64_t value = result == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    if (result != SQLITE_ROW) throw backup_error(result, handle_.get(), "read " + path_.string());
    return value;
  }

  void copy_to(const std::filesystem::path& target, const Tick& tick) const {
    const DatabaseHandle made = open_at(target, SQLITE_OPEN_READWRITE);
    // A copy that is not complete is thrown away: nothing needs a journal, and the archive is what is synced.
    sqlite3_exec(made.get(), "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;", nullptr, nullptr, nullptr);
    sqlite3_backup* backup = sqlite3_backup_init(made.get(), "main", handle_.get(), "main");
    if (backup == nullptr) throw backup_error(sqlite3_errcode(made.get()), made.get(), "copy " + path_.string());
    const std::int64_t page = number("PRAGMA page_size");
    int result = SQLITE_OK;
    try {
      while ((result = sqlite3_backup_step(backup, static_cast<int>(kStepBytes / page))) == SQLITE_OK) {
        const std::int64_t all = sqlite3_backup_pagecount(backup);
        tick((all - sqlite3_backup_remaining(backup)) * page, all * page);
      }
    } catch (...) {
      sqlite3_backup_finish(backup);
      throw;
    }
    const int finished = sqlite3_backup_finish(backup);
    if (result == SQLITE_DONE) result = finished;
    if (result != SQLITE_OK) throw backup_error(result, made.get(), "copy " + path_.string());
  }

 private:
  void execute(const char* sql) const {
    if (const int result = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr))
      throw backup_error(result, handle_.get(), "read " + path_.string());
  }

  const std::filesystem::path path_;
  const DatabaseHandle handle_;
};

Backup::Backup(const std::filesystem::path& history, const std::filesystem::path& content)
    : history_(std::make_unique<Source>(history)), content_(std::make_unique<Source>(content)) {
  // Contents are there before the row that names them, and go after it: the later look at them has all that the earlier
  // one at the history names, unless something was freed in between. Then another number is drawn (content_uses.hpp).
  constexpr const char* kGeneration = "SELECT value FROM generation";
  for (int i = 0; i < kTries; ++i) {
    const std::int64_t before = content_->number(kGeneration);
    history_->begin();
    content_->begin();
    if (content_->number(kGeneration) == before) return;
    history_->end();
    content_->end();
  }
  throw Error(ErrorCode::kUnavailable, "backup: `gc` frees contents all the time", "try again when it has ended");
}

Backup::~Backup() = default;

void Backup::copy_history(const std::filesystem::path& target, const Tick& tick) const {
  history_->copy_to(target, tick);
}

void Backup::copy_content(const std::filesystem::path& target, const Tick& tick) const {
  content_->copy_to(target, tick);
}

}  // namespace runner::store

#include "store/sqlite_handle.hpp"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "runner/core/error.hpp"
#include "store/damage.hpp"

namespace runner::store {
namespace {

constexpr int kBusyTimeoutMs = 2000;  // somebody looks at the file with the sqlite3 shell

const char* const kFsckHint = "`runner fsck` says what is damaged and `runner fsck --repair` what can be had again";

bool means_full(int errnum) { return errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG; }

Error translate(int result, int errnum, const std::string& file, const std::string& message) {
  const std::string text = file + ": " + message;
  switch (result & 0xff) {
    case SQLITE_FULL:
      return Error(ErrorCode::kNoSpace, text, "free some disk space and try again");
    case SQLITE_IOERR:
      if (means_full(errnum)) return errno_error(errnum == EFBIG ? ENOSPC : errnum, "write " + file);
      return Error(ErrorCode::kInternal, errnum == 0 ? text : text + " (" + std::strerror(errnum) + ")", kFsckHint);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error(ErrorCode::kInternal, text, kFsckHint);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(ErrorCode::kConflict, text, "another program has the database open for writing");
    case SQLITE_CANTOPEN:
      return errno_error(errnum != 0 ? errnum : EIO, "open " + file);
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return Error(ErrorCode::kPermission, text);
    case SQLITE_CONSTRAINT:
      if (result == SQLITE_CONSTRAINT_TRIGGER) return Error(ErrorCode::kConflict, message);  // schema.sql's own words
      if (result == SQLITE_CONSTRAINT_UNIQUE || result == SQLITE_CONSTRAINT_PRIMARYKEY)
        return Error(ErrorCode::kConflict, text);
      return Error(ErrorCode::kInternal, text);
    default:
      return Error(ErrorCode::kInternal, text);
  }
}

// Unsynced pages may be gone for good, whatever the reason was, and a later sync would not tell.
bool means_unsynced(int result) { return result == SQLITE_IOERR_FSYNC || result == SQLITE_IOERR_DIR_FSYNC; }

bool means_damage(int result) {
  const int primary = result & 0xff;
  return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB ||
         (primary == SQLITE_IOERR && result != SQLITE_IOERR_NOMEM);
}

// The errno behind an I/O error. What sqlite3_system_errno says is errno some calls later; the files remember their
// own.
int errno_of(sqlite3* handle) {
  int now = sqlite3_system_errno(handle);
  for (const int which : {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER}) {  // the latter is the WAL
    sqlite3_file* file = nullptr;
    int errnum = 0;
    if (sqlite3_file_control(handle, "main", which, &file) == SQLITE_OK && file != nullptr &&
        file->pMethods != nullptr &&
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &errnum) == SQLITE_OK) {
      if (means_full(errnum)) return errnum;
      if (now == 0) now = errnum;
    }
  }
  return now;
}

int as_int(std::size_t size) { return static_cast<int>(size); }

}  // namespace

struct Query::Statement {
  std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> handle{nullptr, sqlite3_finalize};
  bool busy = false;
};

// Query
// -----------------------------------------------------------------------------------------------------------------

Query::Query(Connection& connection, Statement& cached) : connection_(&connection), statement_(&cached) {
  statement_->busy = true;
}

Query::Query(Connection& connection, std::unique_ptr<Statement> own)
    : connection_(&connection), statement_(own.get()), own_(std::move(own)) {}

Query::Query(Query&& other) noexcept
    : connection_(other.connection_),
      statement_(std::exchange(other.statement_, nullptr)),
      own_(std::move(other.own_)) {}

Query::~Query() {
  if (statement_ == nullptr || own_) return;
  sqlite3_reset(statement_->handle.get());
  sqlite3_clear_bindings(statement_->handle.get());
  statement_->busy = false;
}

void Query::bind(int index, std::int64_t value) {
  if (const int result = sqlite3_bind_int64(statement_->handle.get(), index, value)) connection_->fail(result);
}

void Query::bind(int index, double value) {
  if (const int result = sqlite3_bind_double(statement_->handle.get(), index, value)) connection_->fail(result);
}

void Query::bind(int index, std::string_view value) {
  // A null pointer would bind NULL, and an empty view may carry one.
  const char* data = value.data() == nullptr ? "" : value.data();
  if (const int result =
          sqlite3_bind_text(statement_->handle.get(), index, data, as_int(value.size()), SQLITE_TRANSIENT))
    connection_->fail(result);
}

void Query::bind(int index, const Hash& value) {
  if (const int result = sqlite3_bind_blob(statement_->handle.get(), index, value.bytes.data(),
                                           as_int(value.bytes.size()), SQLITE_TRANSIENT))
    connection_->fail(result);
}

void Query::bind(int index, BorrowedBlob value) {
  const int result = value.bytes.empty() ? sqlite3_bind_zeroblob(statement_->handle.get(), index, 0)
                                         : sqlite3_bind_blob64(statement_->handle.get(), index, value.bytes.data(),
                                                               value.bytes.size(), SQLITE_STATIC);
  if (result != SQLITE_OK) connection_->fail(result);
}

void Query::bind_copy(int index, std::span<const std::byte> blob) {
  if (const int result =
          sqlite3_bind_blob64(statement_->handle.get(), index, blob.data(), blob.size(), SQLITE_TRANSIENT))
    connection_->fail(result);
}

void Query::bind(int index, std::nullopt_t) {
  if (const int result = sqlite3_bind_null(statement_->handle.get(), index)) connection_->fail(result);
}

bool Query::next() {
  const int result = sqlite3_step(statement_->handle.get());
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  connection_->fail(result);
}

void Query::rewind() { sqlite3_reset(statement_->handle.get()); }

ColumnType Query::type(int column) const {
  switch (sqlite3_column_type(statement_->handle.get(), column)) {
    case SQLITE_INTEGER:
      return ColumnType::kInteger;
    case SQLITE_FLOAT:
      return ColumnType::kReal;
    case SQLITE_TEXT:
      return ColumnType::kText;
    case SQLITE_BLOB:
      return ColumnType::kBlob;
    default:
      return ColumnType::kNull;
  }
}

std::int64_t Query::integer(int column) const { return sqlite3_column_int64(statement_->handle.get(), column); }
double Query::real(int column) const { return sqlite3_column_double(statement_->handle.get(), column); }

std::string_view Query::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_->handle.get(), column));
  if (data == nullptr) return {};
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_->handle.get(), column))};
}

std::span<const std::byte> Query::blob(int column) const {
  const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(statement_->handle.get(), column));
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_->handle.get(), column))};
}

Hash Query::hash(int column) const {
  const auto bytes = blob(column);
  Hash hash;
  if (bytes.size() != hash.bytes.size())
    throw Error(ErrorCode::kInternal, connection_->file_ + ": a hash of " + std::to_string(bytes.size()) + " bytes",
                kFsckHint);
  std::memcpy(hash.bytes.data(), bytes.data(), bytes.size());
  return hash;
}

// Connection
// ------------------------------------------------------------------------------------------------------------

Connection::Connection(const std::filesystem::path& path, Mode mode, Damage* damage)
    : file_(path.filename().string()), damage_(damage), handle_(nullptr, sqlite3_close_v2) {
  const int flags = (mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) |
                    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  sqlite3* handle = nullptr;
  const int result = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  handle_.reset(handle);
  if (handle == nullptr) throw Error(ErrorCode::kInternal, "open " + path.string() + ": out of memory");
  if (result != SQLITE_OK) throw translate(result, sqlite3_system_errno(handle), path.string(), sqlite3_errmsg(handle));
  // SQLite opens what it may not write, or could not for a moment, to be read only, and says so at the first write.
  if (mode == Mode::kReadWrite && sqlite3_db_readonly(handle, "main") == 1)
    throw Error(ErrorCode::kPermission, "open " + path.string() + ": it can only be read",
                "look after its permissions and the disk, then try again");
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  // WAL and shared memory stay when the last connection closes: on a disk that is full by then they could not be made.
  int stay = 1;
  sqlite3_file_control(handle, "main", SQLITE_FCNTL_PERSIST_WAL, &stay);
}

Connection::~Connection() { statements_.clear(); }

void Connection::tell(int result, const Error& error) const {
  if (damage_ == nullptr || !means_damage(result)) return;
  if (error.code() == ErrorCode::kNoSpace && !means_unsynced(result)) return;
  damage_->report((result & 0xff) == SQLITE_IOERR ? Damage::Kind::kRefused : Damage::Kind::kCorrupt, error.message());
}

void Connection::fail(int result) const {
  const Error error = translate(result, errno_of(handle_.get()), file_, sqlite3_errmsg(handle_.get()));
  tell(result, error);
  throw Error(error);
}

void Connection::execute(const std::string& script) {
  if (const int result = sqlite3_exec(handle_.get(), script.c_str(), nullptr, nullptr, nullptr)) fail(result);
}

std::unique_ptr<Query::Statement> Connection::prepare(std::string_view sql, bool persistent) {
  auto statement = std::make_unique<Query::Statement>();
  sqlite3_stmt* handle = nullptr;
  const int result = sqlite3_prepare_v3(handle_.get(), sql.data(), as_int(sql.size()),
                                        persistent ? SQLITE_PREPARE_PERSISTENT : 0U, &handle, nullptr);
  statement->handle.reset(handle);
  if (result != SQLITE_OK) fail(result);
  return statement;
}

Query Connection::cached(std::string_view sql) {
  auto& statement = statements_[std::string(sql)];
  if (!statement) {
    auto prepared = prepare(sql, true);
    statement = std::move(prepared);
  }
  if (statement->busy) return query_once(sql);  // nested use of one text
  return Query(*this, *statement);
}

Query Connection::query_once(std::string_view sql) { return Query(*this, prepare(sql, false)); }

std::int64_t Connection::changes() const { return sqlite3_changes64(handle_.get()); }
std::int64_t Connection::last_insert_id() const { return sqlite3_last_insert_rowid(handle_.get()); }
bool Connection::in_transaction() const { return sqlite3_get_autocommit(handle_.get()) == 0; }

bool Connection::checkpoint() { return checkpoint(SQLITE_CHECKPOINT_TRUNCATE); }

bool Connection::checkpoint(int mode) {
  const int result = sqlite3_wal_checkpoint_v2(handle_.get(), nullptr, mode, nullptr, nullptr);
  if (result != SQLITE_OK)
    tell(result, translate(result, errno_of(handle_.get()), file_, sqlite3_errmsg(handle_.get())));
  return result == SQLITE_OK;
}

void Connection::checkpoint_from(int pages) {
  checkpoint_pages_ = pages;
  sqlite3_wal_hook(
      handle_.get(),
      [](void* self, sqlite3*, const char*, int length) {
        auto& connection = *static_cast<Connection*>(self);
        if (length >= connection.checkpoint_pages_) connection.checkpoint(SQLITE_CHECKPOINT_PASSIVE);
        return SQLITE_OK;
      },
      this);
}

void Connection::release_memory() { sqlite3_db_release_memory(handle_.get()); }

}  // namespace runner::store

#include "envs/build_context.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "envs/digest.hpp"
#include "runner/core/error.hpp"
#include "runner/core/time.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

constexpr std::size_t kMostIgnore = 1 << 20;      // bytes of a file of rules
constexpr std::size_t kMostDockerfile = 4 << 20;  // bytes
constexpr std::size_t kPiece = 256 << 10;         // bytes read at once
constexpr int kMemoVersion = 1;
// A file that is changed right after it was read keeps the time it had: file systems count in ticks of up to 10 ms.
constexpr std::int64_t kTick = 20'000'000;  // ns

os::Fd open_directory(const std::filesystem::path& directory) {
  os::Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw errno_error(errno, "build context " + directory.string());
  return fd;
}

// The digest's input, an entry: kind and mode, path, link target or device or size, content; each ended by NUL but the
// content, whose size is known.
class ContentDigest {
 public:
  ContentDigest() : context_(::EVP_MD_CTX_new(), ::EVP_MD_CTX_free) {
    if (!context_ || ::EVP_DigestInit_ex(context_.get(), ::EVP_sha256(), nullptr) != 1)
      throw Error(ErrorCode::kInternal, "SHA-256 failed");
  }
  void begin(const ContextFile& file) {
    add(std::to_string(file.mode));
    add(file.path);
    add(S_ISLNK(file.mode) ? file.target
                           : std::to_string(S_ISREG(file.mode) ? file.size : static_cast<std::int64_t>(file.device)));
  }
  void content(std::string_view bytes) { update(bytes); }
  std::string hex() {
    Hash hash;
    unsigned int length = 0;
    if (::EVP_DigestFinal_ex(context_.get(), hash.bytes.data(), &length) != 1)
      throw Error(ErrorCode::kInternal, "SHA-256 failed");
    return hash.hex();
  }

 private:
  void add(std::string_view text) {
    update(text);
    update(std::string_view("\0", 1));
  }
  void update(std::string_view bytes) {
    if (::EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1)
      throw Error(ErrorCode::kInternal, "SHA-256 failed");
  }
  std::unique_ptr<::EVP_MD_CTX, void (*)(::EVP_MD_CTX*)> context_;
};

// One file's content, exactly as long as it was when it was listed.
class FileContent {
 public:
  FileContent(const os::Fd& directory, const std::filesystem::path& name, const ContextFile& file)
      : file_(file), name_((name / file.path).string()), left_(file.size) {
    fd_.reset(::openat(directory.get(), file.path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd_) throw errno_error(errno, "build context: open " + name_, ErrorCode::kConflict);
    require_unchanged();
  }
  // The next piece; empty at the end.
  std::string_view next(std::string& buffer) {
    if (left_ == 0) {
      require_unchanged();
      return {};
    }
    buffer.resize(static_cast<std::size_t>(std::min<std::int64_t>(left_, kPiece)));
    ssize_t got = 0;
    do got = ::read(fd_.get(), buffer.data(), buffer.size());
    while (got < 0 && errno == EINTR);
    if (got < 0) throw errno_error(errno, "build context: read " + name_);
    if (got == 0) throw changed();
    left_ -= got;
    return std::string_view(buffer).substr(0, static_cast<std::size_t>(got));
  }

 private:
  Error changed() const {
    return Error(ErrorCode::kConflict, "build context: " + name_ + " changed while it was read",
                 "submit again when nobody writes there, or name it in .dockerignore");
  }
  void require_unchanged() const {
    struct ::stat info {};
    if (::fstat(fd_.get(), &info) != 0) throw errno_error(errno, "build context: look at " + name_);
    const auto modified = static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
    if (!S_ISREG(info.st_mode) || info.st_size != file_.size || info.st_ino != file_.inode ||
        modified != file_.modified)
      throw changed();
  }

  const ContextFile& file_;
  const std::string name_;
  os::Fd fd_;
  std::int64_t left_;
};

// What the Engine is sent, made as it is asked for.
class TarStream {
 public:
  TarStream(std::filesystem::path name, os::Fd directory, std::vector<ContextFile> files, std::string expected)
      : name_(std::move(name)),
        directory_(std::move(directory)),
        files_(std::move(files)),
        expected_(std::move(expected)),
        archive_(::archive_write_new(), ::archive_write_free),
        entry_(::archive_entry_new(), ::archive_entry_free) {
    ::archive_write_set_format_gnutar(archive_.get());
    ::archive_write_set_bytes_per_block(archive_.get(), 0);
    require(::archive_write_open(archive_.get(), &made_, nullptr, &TarStream::on_write, nullptr));
  }

  std::size_t read(std::span<std::byte> into) {
    while (taken_ == made_.size() && !ended_) {
      made_.clear();
      taken_ = 0;
      advance();
    }
    const std::size_t size = std::min(into.size(), made_.size() - taken_);
    std::transform(made_.begin() + static_cast<std::ptrdiff_t>(taken_),
                   made_.begin() + static_cast<std::ptrdiff_t>(taken_ + size), into.begin(),
                   [](char c) { return static_cast<std::byte>(c); });
    taken_ += size;
    return size;
  }

 private:
  static la_ssize_t on_write(::archive*, void* made, const void* bytes, std::size_t size) {
    static_cast<std::string*>(made)->append(static_cast<const char*>(bytes), size);
    return static_cast<la_ssize_t>(size);
  }

  void advance() {
    if (content_) {
      const std::string_view piece = content_->next(buffer_);
      if (piece.empty())
        content_.reset();
      else
        put(piece, files_[next_ - 1].counts);
    } else if (next_ < files_.size()) {
      begin(files_[next_++]);
    } else {
      if (!expected_.empty() && digest_.hex() != expected_)
        throw Error(ErrorCode::kConflict,
                    "build context " + name_.string() + ": it changed after the run was submitted", "submit again");
      require(::archive_write_close(archive_.get()));
      ended_ = true;
    }
  }

  void begin(const ContextFile& file) {
    if (file.counts) digest_.begin(file);
    ::archive_entry_clear(entry_.get());
    ::archive_entry_set_pathname(entry_.get(), file.path.c_str());
    ::archive_entry_set_mode(entry_.get(), file.mode);
    ::archive_entry_set_mtime(entry_.get(), file.modified / 1'000'000'000, 0);
    ::archive_entry_set_size(entry_.get(), file.sent ? static_cast<la_int64_t>(file.sent->size()) : file.size);
    if (S_ISLNK(file.mode)) ::archive_entry_set_symlink(entry_.get(), file.target.c_str());
    if (file.device != 0) ::archive_entry_set_rdev(entry_.get(), file.device);
    require(::archive_write_header(archive_.get(), entry_.get()));
    if (!S_ISREG(file.mode)) return;
    if (!file.sent) {
      content_.emplace(directory_, name_, file);
      return;
    }
    put(*file.sent, false);
    if (file.counts) count(file);
  }

  void put(std::string_view bytes, bool counts) {
    if (counts) digest_.content(bytes);
    if (::archive_write_data(archive_.get(), bytes.data(), bytes.size()) != static_cast<la_ssize_t>(bytes.size()))
      require(ARCHIVE_FATAL);
  }

  // One that is sent with another content counts with its own.
  void count(const ContextFile& file) {
    FileContent content(directory_, name_, file);
    for (std::string_view piece = content.next(buffer_); !piece.empty(); piece = content.next(buffer_))
      digest_.content(piece);
  }

  void require(int result) const {
    if (result == ARCHIVE_OK || result == ARCHIVE_WARN) return;
    const char* words = ::archive_error_string(archive_.get());
    throw Error(ErrorCode::kInternal, "build context: tar: " + std::string(words == nullptr ? "failed" : words));
  }

  const std::filesystem::path name_;
  const os::Fd directory_;
  const std::vector<ContextFile> files_;
  const std::string expected_;
  std::string made_;  // and not read yet, from taken_ on
  std::size_t taken_ = 0;
  bool ended_ = false;
  std::size_t next_ = 0;
  std::string buffer_;
  std::optional<FileContent> content_;
  ContentDigest digest_;
  std::unique_ptr<::archive, int (*)(::archive*)> archive_;
  std::unique_ptr<::archive_entry, void (*)(::archive_entry*)> entry_;
};

// What must be the same for an earlier digest to hold.
std::string looks_of(const std::vector<ContextFile>& files) {
  std::string text;
  for (const ContextFile& file : files) {
    if (!file.counts) continue;
    text += file.path + '\0' + file.target + '\0';
    for (const auto number : {static_cast<std::int64_t>(file.mode), file.size, file.modified, file.changed,
                              static_cast<std::int64_t>(file.inode), static_cast<std::int64_t>(file.device)})
      text += std::to_string(number) + ' ';
  }
  return digest_of(text).hex();
}

std::string remembered(const std::filesystem::path& memo, const std::string& looks) {
  if (memo.empty()) return "";
  try {
    const auto text = os::read_file_if_exists(memo, 1 << 16);
    const auto body = text ? nlohmann::json::parse(*text, nullptr, false) : nlohmann::json();
    if (!body.is_object() || body.value("version", 0) != kMemoVersion || body.value("looks", "") != looks) return "";
    return body.value("digest", "");
  } catch (const std::exception&) {  // what cannot be read is not remembered
    return "";
  }
}

ContextFile made_file(const std::string& path, std::string content) {
  return {.path = path, .mode = S_IFREG | 0644, .sent = std::move(content), .counts = false};
}

// The Dockerfile's name within the directory; empty if it is not a plain file of that very text there.
std::string name_within(const std::filesystem::path& directory, const std::filesystem::path& file,
                        const std::string& text) {
  if (directory.empty() || file.empty()) return "";
  std::error_code failed;
  const auto above = std::filesystem::canonical(file.parent_path(), failed);
  const auto root = failed ? above : std::filesystem::canonical(directory, failed);
  if (failed) return "";
  const auto name = (above / file.filename()).lexically_relative(root);
  if (name.empty() || *name.begin() == "..") return "";
  if (!std::filesystem::is_regular_file(std::filesystem::symlink_status(above / file.filename(), failed))) return "";
  try {
    return os::read_file(above / file.filename(), kMostDockerfile) == text ? name.string() : "";
  } catch (const Error&) {
    return "";
  }
}

}  // namespace

BuildContext::BuildContext(std::filesystem::path directory, std::string dockerfile,
                           std::filesystem::path dockerfile_path, std::filesystem::path left_out)
    : directory_(std::move(directory)), left_out_(std::move(left_out)), dockerfile_(std::move(dockerfile)) {
  if (directory_.empty()) return;
  open_directory(directory_);
  ignore_text_ = os::read_file_if_exists(directory_ / kDockerIgnore, kMostIgnore);
  if (!dockerfile_path.empty()) {
    const std::filesystem::path own = dockerfile_path.string() + kDockerIgnore;
    if (const auto text = os::read_file_if_exists(own, kMostIgnore)) {
      ignore_ = DockerIgnore(*text, own.filename().string());
      return;
    }
  }
  if (ignore_text_) ignore_ = DockerIgnore(*ignore_text_, kDockerIgnore);
  if (auto name = name_within(directory_, dockerfile_path, dockerfile_); !name.empty()) {
    dockerfile_name_ = std::move(name);
    separate_ = false;
  }
}

// The Engine takes the Dockerfile and .dockerignore out of what it was sent if the .dockerignore names them. That is
// how the docker CLI hides a Dockerfile that is no file of the context, and how both are sent though they are ignored.
std::vector<ContextFile> BuildContext::list() const {
  if (directory_.empty()) return {made_file(dockerfile_name_, dockerfile_)};
  const os::Fd directory = open_directory(directory_);
  std::vector<ContextFile> files = list_context(directory, directory_.string(), ignore_, left_out_);
  const auto find = [&](const std::string& path) {
    return std::find_if(files.begin(), files.end(), [&](const ContextFile& file) { return file.path == path; });
  };
  if (separate_) std::erase_if(files, [](const ContextFile& file) { return file.path == kDockerfileName; });
  if (separate_ || find(dockerfile_name_) == files.end()) files.push_back(made_file(dockerfile_name_, dockerfile_));
  const auto rules = find(kDockerIgnore);
  const bool kept = rules != files.end();
  if (separate_) {
    const std::string hidden = std::string("\n") + kDockerfileName + "\n";
    if (kept && S_ISREG(rules->mode))
      rules->sent = ignore_text_.value_or("") + "\n!" + kDockerIgnore + hidden;
    else if (!kept)
      files.push_back(made_file(kDockerIgnore, kDockerIgnore + hidden));
  } else if (!kept && ignore_text_) {
    files.push_back(made_file(kDockerIgnore, *ignore_text_));
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

std::string BuildContext::digest(const std::filesystem::path& memo) const {
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(utc_now().time_since_epoch()).count();
  const std::vector<ContextFile> files = list();
  const std::string looks = looks_of(files);
  if (auto known = remembered(memo, looks); !known.empty()) return known;
  ContentDigest digest;
  const os::Fd directory = directory_.empty() ? os::Fd() : open_directory(directory_);
  std::string buffer;
  std::int64_t newest = 0;
  for (const ContextFile& file : files) {
    if (!file.counts) continue;
    newest = std::max({newest, file.changed, file.modified});
    digest.begin(file);
    if (!S_ISREG(file.mode)) continue;
    FileContent content(directory, directory_, file);
    for (std::string_view piece = content.next(buffer); !piece.empty(); piece = content.next(buffer))
      digest.content(piece);
  }
  std::string hex = digest.hex();
  if (!memo.empty() && newest + kTick < now) {
    const nlohmann::json body{{"version", kMemoVersion}, {"looks", looks}, {"digest", hex}};
    os::publish_file(memo, body.dump(), os::Durability::kAtomic);
  }
  return hex;
}

ReadSome BuildContext::reader(std::string expected) const {
  auto stream = std::make_shared<TarStream>(directory_, directory_.empty() ? os::Fd() : open_directory(directory_),
                                            list(), std::move(expected));
  return [stream = std::move(stream)](std::span<std::byte> into) { return stream->read(into); };
}

}  // namespace runner::envs

#include "runner/cli/download.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::cli {

bool is_safe_name(std::string_view name) {
  if (name.find('\0') != std::string_view::npos) return false;
  for (;;) {
    const std::string_view component = name.substr(0, name.find('/'));
    if (component.empty() || component == "." || component == "..") return false;
    if (component.size() == name.size()) return true;
    name.remove_prefix(component.size() + 1);
  }
}

bool covers(std::string_view wanted, std::string_view name) {
  while (wanted.ends_with('/')) wanted.remove_suffix(1);
  return name == wanted || (name.starts_with(wanted) && name.size() > wanted.size() && name[wanted.size()] == '/');
}

DownloadedFile::DownloadedFile(const std::filesystem::path& target)
    : target_(target), temporary_(target.parent_path() / (".tmp-" + std::to_string(::getpid()) + "-download")) {
  std::error_code error;
  std::filesystem::create_directories(target.parent_path(),
                                      error);  // with the user's umask: these are the user's files
  if (error) throw errno_error(error.value(), "create " + target.parent_path().string());
  fd_ = os::open_file(temporary_, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666);
}

DownloadedFile::~DownloadedFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void DownloadedFile::write(std::string_view bytes) {
  os::write_all(fd_.get(), bytes, target_.string());
  bytes_ += static_cast<std::int64_t>(bytes.size());
}

void DownloadedFile::publish() {
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) throw errno_error(errno, "rename to " + target_.string());
  temporary_.clear();
}

namespace {

std::vector<Json> wanted_files(const Json& items, const DownloadOptions& options) {
  std::vector<Json> files;
  std::vector<bool> used(options.names.size(), false);
  for (const Json& item : items) {
    const std::string name = text_at(item, "name");
    bool wanted = options.names.empty();
    for (std::size_t i = 0; i < options.names.size(); ++i)
      if (covers(options.names[i], name)) wanted = used[i] = true;
    if (wanted) files.push_back(item);
  }
  for (std::size_t i = 0; i < used.size(); ++i)
    if (!used[i])
      throw Error(ErrorCode::kNotFound, "run " + options.run + " has no file '" + options.names[i] + "'",
                  "'runner run files " + options.run + "' lists them");
  // Before the first byte is written: a run that names one file so is not worth half a download.
  for (const Json& file : files)
    if (!is_safe_name(text_at(file, "name")))
      throw Error(ErrorCode::kInvalid,
                  "run " + options.run + ": the file name '" + text_at(file, "name") + "' leads out of the directory");
  return files;
}

void download(Session& session, const std::string& run, const Json& file, const std::filesystem::path& target) {
  const std::string name = text_at(file, "name");
  DownloadedFile writing(target);
  session.client().stream("GET", run_target(run, "/file?name=" + http::percent_encode(name)),
                          [&](std::span<const std::byte> piece) {
                            writing.write({reinterpret_cast<const char*>(piece.data()), piece.size()});
                          });
  // The daemon checks the content against its hash while it sends; a wrong length is the one thing left to see here.
  const auto expected = static_cast<std::int64_t>(number_at(file, "bytes").value_or(-1));
  if (writing.bytes() != expected)
    throw Error(ErrorCode::kInternal, "download " + name + ": " + std::to_string(writing.bytes()) +
                                          " bytes came instead of " + std::to_string(expected));
  writing.publish();
}

}  // namespace

int run(Session& session, const DownloadOptions& options) {
  const Json list = parse_document(session.get(run_target(options.run, "/files")));
  const auto files = wanted_files(member(list, "items"), options);
  Json items = Json::array();
  for (const Json& file : files) {
    const std::string name = text_at(file, "name");
    const auto target = std::filesystem::path(options.directory) / name;
    download(session, options.run, file, target);
    if (session.json())
      items.push_back({{"name", name},
                       {"bytes", member(file, "bytes")},
                       {"sha256", member(file, "sha256")},
                       {"path", std::filesystem::absolute(target).lexically_normal().string()}});
    else
      print(printable(target.lexically_normal().string()) + "\n");
  }
  if (session.json())
    print(json_text(dump_document({{"items", items}, {"nextToken", nullptr}})));
  else if (files.empty())
    print_error("runner: the run left no files\n");
  return 0;
}

}  // namespace runner::cli

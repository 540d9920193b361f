#include "envs/wheel_store.hpp"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "envs/artefact_name.hpp"
#include "envs/digest.hpp"
#include "envs/pip_files.hpp"
#include "envs/pip_install.hpp"
#include "envs/wheel_fetch.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSha256 = "sha256:";
constexpr const char* kUnfinished = ".new-";  // begins the name of a copy that is being made

// What the store has no copy of, and whose hash is known.
std::vector<LockedPackage> lacking(const WheelStore& store, const Lock& lock) {
  std::vector<LockedPackage> packages;
  for (const LockedPackage& package : lock.packages)
    if (package.manager == "pip" && package.hash.starts_with(kSha256) && !store.has(package.hash))
      packages.push_back(package);
  return packages;
}

// pip makes a wheel of a source archive, for the archive would want its build tools again; uv has that wheel in its
// cache.
bool copied_from_disk(const WheelStore& store, const LockedPackage& package, bool with_uv, BuildConsole& console) {
  const auto path = path_of_file_url(package.url);
  std::error_code ignored;
  if (!path || !fs::is_regular_file(*path, ignored)) return false;
  if (!with_uv && !path->ends_with(".whl")) return false;
  if (store.add(package.hash, *path, false)) return true;
  console.write(*path + ": is no longer what was installed; no copy is kept\n");
  return true;
}

void let_pip_collect(const WheelStore& store, const std::vector<LockedPackage>& packages,
                     const Specification& specification, const fs::path& prefix, const BuildSettings& settings,
                     BuildConsole& console) {
  const fs::path wheels = console.scratch() / "stock";
  std::vector<std::string> lines;
  for (const std::string& option : specification.pip_options)
    if (const auto [name, value] = pip_option(option); name.find("index") != std::string::npos ||
                                                       name == "--find-links" || name == "--trusted-host" ||
                                                       name == "--pre")
      lines.push_back(value.empty() ? name : name + "=" + url_with_credentials(value, settings));
  for (const LockedPackage& package : packages)
    lines.push_back(locked_requirement(package, specification, settings) + " --hash=" + package.hash);
  const fs::path file = write_lines(console.scratch(), "stock.txt", lines);
  const Tool pip{.name = "pip wheel",
                 .arguments = {(prefix / "bin" / "python").string(), "-m", "pip", "wheel", "--no-deps", "--use-pep517",
                               "--progress-bar", "off", "--wheel-dir", wheels.string(), "--requirement", file.string()},
                 .variables = pip_variables(settings, console.scratch()),
                 .directory = {}};
  if (console.run(pip) != 0) console.write("some wheels have no copy: a build from the lock may need the network\n");
  std::error_code ignored;
  for (fs::directory_iterator entry(wheels, ignored), end; entry != end; entry.increment(ignored)) {
    const auto made = artefact_name(entry->path().filename().string());
    const auto package = std::find_if(packages.begin(), packages.end(),
                                      [&](const LockedPackage& one) { return made && one.name == made->name; });
    if (package == packages.end()) continue;
    const bool same = std::string(kSha256) + digest_of_file(entry->path()).hex() == package->hash;
    store.add(package->hash, entry->path(), !same);
  }
  os::remove_tree(wheels);
}

// uv keeps what an index lets it keep, and its cache says nothing about what is in it: it is tried out. Indexes allow
// caching or they do not, so one file that is missing stands for all of its origin.
void keep_what_uv_lacks(const fs::path& uv, const WheelStore& store, std::vector<LockedPackage> packages,
                        const Specification& specification, const fs::path& prefix, const BuildSettings& settings,
                        BuildConsole& console) {
  const std::optional<Lock> none;
  const PipInstall part{.specification = specification, .lock = none, .prefix = prefix, .settings = settings};
  const fs::path fetched = console.scratch() / "stock";
  while (!packages.empty()) {
    const LockedPackage* missing = missing_in_uv(uv, part, packages, console);
    if (missing == nullptr) return;
    const std::string origin = origin_of(missing->url);
    const auto kept = std::stable_partition(packages.begin(), packages.end(),
                                            [&](const LockedPackage& one) { return origin_of(one.url) != origin; });
    const std::vector<LockedPackage> lost(kept, packages.end());
    packages.erase(kept, packages.end());
    fetch_files(lost, fetched, prefix / "bin" / "python", specification, settings, console);
    for (const LockedPackage& package : lost) {
      const fs::path file = fetched / file_name_of(package.url);
      std::error_code ignored;
      if (fs::exists(file, ignored) && !store.add(package.hash, file, false))
        console.write(package.url + ": is no longer what was installed; no copy is kept\n");
    }
    os::remove_tree(fetched);
  }
}

}  // namespace

fs::path WheelStore::place_of(const std::string& artefact) const {
  if (!artefact.starts_with(kSha256)) return {};
  const auto hash = Hash::from_hex(std::string_view(artefact).substr(kSha256.size()));
  return hash ? directory_ / hash->hex() : fs::path();
}

bool WheelStore::has(const std::string& artefact) const {
  const fs::path place = place_of(artefact);
  std::error_code ignored;
  return !place.empty() && fs::exists(place, ignored);
}

std::optional<WheelStore::Copy> WheelStore::find(const std::string& artefact) const {
  const fs::path place = place_of(artefact);
  if (place.empty()) return std::nullopt;
  std::error_code ignored;
  for (fs::directory_iterator kept(place, ignored), end; kept != end; kept.increment(ignored)) {
    const std::string hash = kept->path().filename();
    for (const auto& file : fs::directory_iterator(kept->path(), ignored))
      if (digest_of_file(file.path()).hex() == hash)
        return Copy{.file = file.path(), .hash = std::string(kSha256) + hash};
  }
  if (fs::exists(place, ignored)) os::remove_tree(place);
  return std::nullopt;
}

bool WheelStore::add(const std::string& artefact, const fs::path& file, bool made_from_it) const {
  const fs::path place = place_of(artefact);
  if (place.empty()) return false;
  os::make_directories(directory_);
  std::string pattern = (directory_ / (std::string(kUnfinished) + "XXXXXX")).string();
  if (::mkdtemp(pattern.data()) == nullptr) throw errno_error(errno, "make a directory in " + directory_.string());
  const fs::path making = pattern;
  try {
    const fs::path copy = making / file.filename();
    std::error_code error;
    fs::copy_file(file, copy, error);
    if (error) throw errno_error(error.value(), "copy " + file.string());
    // The copy is what counts: the file may change at any time.
    const std::string hash = digest_of_file(copy).hex();
    const bool good = made_from_it || std::string(kSha256) + hash == artefact;
    if (good) {
      fs::create_directory(making / hash);
      fs::rename(copy, making / hash / file.filename());
      fs::rename(making, place, error);  // fails where somebody else was first
    }
    if (!good || error) os::remove_tree(making);
    return good;
  } catch (const fs::filesystem_error& error) {
    os::remove_tree(making);
    throw errno_error(error.code().value(), "keep a copy of " + file.string());
  } catch (const Error&) {
    os::remove_tree(making);
    throw;
  }
}

void WheelStore::remove_unfinished() const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory_, ignored))
    if (entry.path().filename().string().starts_with(kUnfinished)) os::remove_tree(entry.path());
}

void stock_wheels(const Specification& specification, const Lock& lock, const fs::path& prefix,
                  const BuildSettings& settings, BuildConsole& console) {
  const WheelStore store(settings.wheels);
  const auto uv = find_uv(settings.variables);
  std::vector<LockedPackage> rest;
  for (const LockedPackage& package : lacking(store, lock)) {
    console.check();
    if (!copied_from_disk(store, package, uv.has_value(), console)) rest.push_back(package);
  }
  if (rest.empty()) return;
  console.step("keeping copies of packages");
  if (uv)
    keep_what_uv_lacks(*uv, store, std::move(rest), specification, prefix, settings, console);
  else
    let_pip_collect(store, rest, specification, prefix, settings, console);
}

}  // namespace runner::envs

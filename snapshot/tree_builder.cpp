#include "snapshot/tree_builder.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "runner/core/error.hpp"

namespace runner::snapshot {
namespace {

// A job is some 5 ms of work: short enough that both threads end together.
constexpr std::size_t kJobFiles = 64;
constexpr std::int64_t kJobBytes = 8 << 20;

// What reading costs, for the pool to judge by: open, stat, hash and store.
constexpr std::size_t kMicrosecondsPerFile = 15;
constexpr std::int64_t kBytesPerMicrosecond = 500;

// Visits a record's files while the same names come by, both ascending.
class RecordedFiles {
 public:
  explicit RecordedFiles(const std::optional<StatCache::Record>& record) {
    if (!record) return;
    record_ = *record;
    left_ = record->files;
    advance();
  }
  const StatCache::File* find(std::string_view name) {
    while (present_ && file_.name < name) advance();
    return present_ && file_.name == name ? &file_ : nullptr;
  }

 private:
  void advance() { present_ = left_-- > 0 && record_.next_file(file_); }

  StatCache::Record record_;
  StatCache::File file_;
  std::size_t left_ = 0;
  bool present_ = false;
};

}  // namespace

TreeBuilder::TreeBuilder(const StatCache& cache, StatCacheUpdate& update, ContentBatch& batch, ReadGate& gate)
    : cache_(cache),
      update_(update),
      batch_(batch),
      gate_(gate),
      generation_(batch.generation()),
      readers_{FileReader(batch), FileReader(batch)} {}

// Walking
// -----------------------------------------------------------------------------------------------

std::shared_ptr<WalkNode> TreeBuilder::directory(const WalkedDirectory& at, std::shared_ptr<WalkNode> parent,
                                                 std::vector<std::string> files, std::size_t subdirectories) {
  auto node = std::make_shared<Node>();
  node->parent = std::static_pointer_cast<Node>(std::move(parent));
  node->path = at.path;
  node->pending = 1 + subdirectories;
  node->record = cache_.find(at.path);
  const std::size_t matched = match(*node, at, files);
  node->as_recorded = is_trusted(*node) && matched == files.size() && matched == node->record->files;
  if (!node->as_recorded) {
    node->bytes = 0;
    sort_out(node, at, std::move(files), matched);
  }
  finish_one(node);
  return node;
}

// Whether what its record names is in the store without asking.
bool TreeBuilder::is_trusted(const Node& node) const {
  return node.record && generation_ != 0 && node.record->generation == generation_;
}

// How many files from the front are just as recorded. Of an unchanged directory, all: the usual case gets by without an
// allocation.
std::size_t TreeBuilder::match(Node& node, const WalkedDirectory& at, const std::vector<std::string>& names) const {
  if (!is_trusted(node)) return 0;
  StatCache::Record record = *node.record;
  StatCache::File file;
  std::size_t matched = 0;
  for (; matched < names.size() && matched < record.files; ++matched) {
    const std::string& name = names[matched];
    struct ::stat info {};
    if (!record.next_file(file) || file.name != name ||
        ::fstatat(at.fd->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 || stamp_of(info) != file.stamp)
      break;
    node.bytes += file.stamp.size;
  }
  return matched;
}

// Asks the record about each file, queues what it does not know.
void TreeBuilder::sort_out(const std::shared_ptr<Node>& node, const WalkedDirectory& at, std::vector<std::string> names,
                           std::size_t matched) {
  node->files.reserve(names.size());
  RecordedFiles recorded(node->record);
  const bool trusted = is_trusted(*node);
  Job job{.node = node, .directory = at.fd, .files = {}};
  for (std::size_t i = 0; i < names.size(); ++i) {
    TreeFile& file = node->files.emplace_back(TreeFile{.name = std::move(names[i]), .stamp = {}, .content = {}});
    const StatCache::File* known = recorded.find(file.name);
    struct ::stat info {};
    if (i >= matched && ::fstatat(at.fd->get(), file.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0)
      file.stamp = stamp_of(info);  // else it is for the reader to judge
    if (known != nullptr && (i < matched || known->stamp == file.stamp) && (trusted || batch_.known(known->content))) {
      file.stamp = known->stamp;
      file.type = type_of(known->stamp);
      file.content = known->content;
      file.settled = true;
      continue;
    }
    job.files.push_back(&file);
    job.bytes += file.stamp.size;
    if (job.files.size() < kJobFiles && job.bytes < kJobBytes) continue;
    queue(std::exchange(job, {.node = node, .directory = at.fd, .files = {}}), at);
  }
  if (!job.files.empty()) queue(std::move(job), at);
}

void TreeBuilder::left_out(const std::shared_ptr<WalkNode>& parent) {
  finish_one(std::static_pointer_cast<Node>(parent));
}

// Reading
// -----------------------------------------------------------------------------------------------

void TreeBuilder::queue(Job job, const WalkedDirectory& at) {
  ++job.node->pending;
  if (at.is_deep) {
    gate_.open(at.worker, false);
    return read(job, at.worker);
  }
  const std::size_t files = job.files.size();
  const std::int64_t bytes = job.bytes;
  const std::size_t weight = files * kMicrosecondsPerFile + static_cast<std::size_t>(bytes / kBytesPerMicrosecond);
  // std::function wants to be copied, a job is only ever moved: shared.
  gate_.add(
      at.worker, [this, shared = std::make_shared<Job>(std::move(job))](int worker) { read(*shared, worker); }, weight,
      files, bytes);
}

void TreeBuilder::read(const Job& job, int worker) {
  FileReader& reader = readers_[static_cast<std::size_t>(worker)];
  for (TreeFile* file : job.files) {
    const FileReader::Read read =
        reader.read(job.directory->get(), file->name, job.node->path + file->name, S_ISREG(file->stamp.mode));
    if (!read.permitted) {
      const std::lock_guard lock(mutex_);
      unreadable_.push_back(job.node->path + file->name);
      continue;
    }
    file->type = read.type;
    file->content = read.content;
    file->stamp = read.stamp;
    file->settled = read.settled;
  }
  finish_one(job.node);
}

// From the leaves up
// -----------------------------------------------------------------------------------------------

// One thing that the directory waited for is done; if it was the last, the directory is, and its parent waits for one
// less.
void TreeBuilder::finish_one(std::shared_ptr<Node> node) {
  while (node && --node->pending == 0) {
    const Hash tree = finish(*node);
    const std::shared_ptr<Node> parent = node->parent;
    const std::lock_guard lock(mutex_);
    if (parent)
      parent->children.push_back(
          {.name = node->path.substr(parent->path.size(), node->path.size() - parent->path.size() - 1), .tree = tree});
    else
      id_ = tree;
    node = parent;
  }
}

Hash TreeBuilder::finish(Node& node) {
  std::sort(node.children.begin(), node.children.end(), [](const Child& a, const Child& b) { return a.name < b.name; });
  files_ += static_cast<std::int64_t>(node.as_recorded ? node.record->files : node.files.size());
  bytes_ += node.bytes;
  if (node.as_recorded && is_as_recorded(node)) return *node.record->tree;
  if (node.as_recorded) {
    StatCache::Record recorded = *node.record;
    StatCache::File file;
    while (node.files.size() < node.record->files && recorded.next_file(file))
      node.files.push_back({.name = std::string(file.name),
                            .stamp = file.stamp,
                            .type = type_of(file.stamp),
                            .content = file.content,
                            .settled = true});
  } else {
    for (const TreeFile& file : node.files) node.bytes += file.stamp.size;
    bytes_ += node.bytes;
  }
  const Hash tree = encode(node);
  record(node, tree);
  node.files = {};
  return tree;
}

// Whether its subdirectories are the record's, too.
bool TreeBuilder::is_as_recorded(const Node& node) const {
  if (!node.record->tree || node.children.size() != node.record->directories) return false;
  StatCache::Record recorded = *node.record;
  StatCache::File file;
  StatCache::Subdirectory directory;
  for (std::size_t i = 0; i < recorded.files; ++i)
    if (!recorded.next_file(file)) return false;
  return std::all_of(node.children.begin(), node.children.end(), [&](const Child& child) {
    return recorded.next_directory(directory) && directory.name == child.name && directory.tree == child.tree;
  });
}

Hash TreeBuilder::encode(const Node& node) {
  TreeEncoder encoder;
  auto child = node.children.begin();
  const auto add_children_before = [&](const std::string* name) {
    for (; child != node.children.end() && (name == nullptr || child->name < *name); ++child)
      encoder.add(child->name, EntryType::kDirectory, child->tree, 0);
  };
  for (const TreeFile& file : node.files) {
    add_children_before(&file.name);
    encoder.add(file.name, file.type, file.content, file.stamp.size);
  }
  add_children_before(nullptr);
  const Hash tree = sha256(encoder.bytes());
  if (!batch_.known(tree)) batch_.put(std::as_bytes(std::span(encoder.bytes().data(), encoder.bytes().size())));
  return tree;
}

void TreeBuilder::record(const Node& node, const Hash& tree) {
  const bool complete =
      std::all_of(node.files.begin(), node.files.end(), [](const TreeFile& file) { return file.settled; });
  StatRecord record(node.path, generation_, complete ? std::optional(tree) : std::nullopt);
  for (const TreeFile& file : node.files)
    if (file.settled) record.add_file(file.name, file.stamp, file.content);
  for (const Child& child : node.children) record.add_directory(child.name, child.tree);
  update_.add(node.path, record.finish());
}

}  // namespace runner::snapshot

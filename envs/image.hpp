// A container image as an environment: which one it was, and whether it can run here. Any thread; no I/O.
#pragma once

#include <string>

#include "runner/core/content.hpp"
#include "runner/core/run.hpp"
#include "runner/engine/engine.hpp"

namespace runner::envs {

// `reference` is the name it was asked for by; of several registries' digests the one of that name counts.
ImageRef image_ref(const engine::Image& image, const std::string& reference);

// The environment's identity: an image's id is a SHA-256.
Hash image_digest(const engine::Image& image);
// Before it is known.
Hash unresolved_image_digest(const std::string& reference);

// Error(kUnavailable) naming both platforms if the engine's machine cannot run the image: another system, or another
// architecture without an emulator registered with the kernel. `binfmt` is /proc/sys/fs/binfmt_misc.
void require_platform(const engine::Image& image, const std::string& reference, const engine::EngineFacts& facts,
                      const std::string& binfmt = "/proc/sys/fs/binfmt_misc");

}  // namespace runner::envs

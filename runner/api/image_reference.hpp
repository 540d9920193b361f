// The grammar of image names, as distribution/reference has it: [HOST[:PORT]/]PATH[:TAG][@DIGEST]; or an image's id.
// Pure; any thread. Whether there is such an image is the Engine's to say.
#pragma once

#include <string>

namespace runner::api {

// Error(kInvalid) "--image Ubuntu: the repository must be lowercase" with the way out as its hint. `what` names where
// the text stands ("--image"). Ids pass: "sha256:" and 64 hex digits, 64 hex digits, and the short form, which reads as
// a name.
void check_image_reference(const std::string& text, const std::string& what);

}  // namespace runner::api

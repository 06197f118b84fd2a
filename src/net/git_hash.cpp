#include <openssl/evp.h>

#include "exchange.h"

namespace evalmpi::net {

std::string git_blob_hash_hex(std::string_view bytes) {
  const std::string head = fmt::format("blob {}", bytes.size());
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const bool ok = context != nullptr && EVP_DigestInit_ex(context, EVP_sha1(), nullptr) == 1 &&
                  EVP_DigestUpdate(context, head.c_str(), head.size() + 1) == 1 &&
                  EVP_DigestUpdate(context, bytes.data(), bytes.size()) == 1 &&
                  EVP_DigestFinal_ex(context, digest, &size) == 1;
  EVP_MD_CTX_free(context);
  if (!ok) fail(ExitCode::kInternal, "OpenSSL has no SHA-1");
  std::string text;
  for (unsigned i = 0; i < size; ++i) fmt::format_to(std::back_inserter(text), "{:02x}", digest[i]);
  return text;
}

}  // namespace evalmpi::net

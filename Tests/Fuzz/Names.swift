// Addresses, patterns and image names: what is printed is read as the same again, and what is thrown is a refusal.

func fuzzAddress(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    for address in [try? RegistryAddress(text), try? RegistryAddress(serverURL: text)] {
        guard let address else { continue }
        precondition(address.description.utf8.allSatisfy(ASCII.isPrintable))
        precondition((try? RegistryAddress(address.description)) == address)
        precondition(address.host.utf8.count <= RegistryAddress.longestHost)
        precondition(address.port != 443)
    }
}

func fuzzPattern(_ bytes: [UInt8]) {
    guard let pattern = try? AddressPattern(String(decoding: bytes, as: UTF8.self)) else { return }
    precondition((try? AddressPattern(pattern.description)) == pattern)
    // A pattern that is an address matches that address.
    if let address = try? RegistryAddress(pattern.description) { precondition(pattern.matches(address)) }
}

func fuzzReference(_ bytes: [UInt8]) {
    guard let image = try? ImageReference(String(decoding: bytes, as: UTF8.self)) else { return }
    precondition(image.description.utf8.allSatisfy(ASCII.isPrintable))
    precondition((try? ImageReference(image.description)) == image)
    precondition((try? RegistryAddress(image.registry.description)) == image.registry)
}

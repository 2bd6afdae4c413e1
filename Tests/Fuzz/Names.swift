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

/// What the proxy dials is what the policy was asked about, and nothing that was written twice differs.
func fuzzAuthority(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    for defaultPort in [nil, 80, 443] as [UInt16?] {
        guard let target = try? EgressTarget(authority: text, defaultPort: defaultPort) else { continue }
        precondition(target.port != 0)
        precondition(target.authority.utf8.allSatisfy { ASCII.isPrintable($0) && !ASCII.isUppercase($0) })
        precondition((try? EgressTarget(authority: target.authority)) == target)
        precondition((try? RegistryAddress(target.authority)) == target.address)
        precondition((target.address.port ?? 443) == target.port)
        // The dialed host is the one of the address, but for the names of Docker Hub and the brackets.
        let host = target.address.host.filter { $0 != "[" && $0 != "]" }
        precondition(target.host == host || (target.address == .dockerHub && !target.address.isIPAddress))
        precondition(!target.host.utf8.contains { $0 == ASCII.leftBracket || $0 == ASCII.percent })
    }
}

/// A form is read as it is written, and a host that it is filled to has the form.
func fuzzHostForm(_ bytes: [UInt8]) {
    guard let form = try? HostForm(String(decoding: bytes, as: UTF8.self)) else { return }
    precondition(form.labels.suffix(2).allSatisfy { $0.hole == nil })
    let values = form.captures.indices.map { "v\($0)" }
    let host = form.filled({ values[$0] }, orElse: "x")
    var found: [Range<Int>] = []
    precondition(form.matches(host.utf8.span, &found))
    precondition(RegistryPacks.texts(found, of: host) == values)
    precondition(!form.matches("x.\(host)".utf8.span, &found) && !form.matches("\(host).x".utf8.span, &found))
    precondition(HostForm.tailHash(host.utf8.span) == form.tailHash)
    precondition(
        form.isBelow(host.split(separator: ".").suffix(2).joined(separator: ".").utf8.span, oneLabel: false, &found)
            == (form.labels.count > 2)
    )
}

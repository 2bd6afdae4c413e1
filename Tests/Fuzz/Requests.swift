// Calls of the Engine API.

func fuzzTarget(_ bytes: [UInt8]) {
    let escaped = "%" + bytes.map(hexadecimal).joined(separator: "%")

    // Escaped bytes are the bytes, in a query as in a path.
    if !bytes.isEmpty {
        let parameters = try? QueryParameters(Array("k=\(escaped)&z".utf8)[...])
        precondition((try? parameters?.value("k")) == bytes)
    }
    let text = String(decoding: bytes, as: UTF8.self)
    guard let target = try? RequestTarget(text) else { return }
    precondition(target.path.first == ASCII.slash && !target.path.contains { $0 < 0x20 || $0 == 0x7F })
    let again = target.path.map { $0 == ASCII.slash ? "/" : "%" + hexadecimal($0) }.joined()
    for prefix in ["", "/v1.41", "http://front.test", "x:"] {
        // Not so only where the path itself goes on with a version.
        guard let second = try? RequestTarget(prefix + again), second.path == target.path else {
            precondition(target.path.starts(with: "/v".utf8))
            continue
        }
    }
    for method in [EngineRoute.Method.get, .post, .delete] {
        if let match = EngineRoute.find(method, target.path) {
            precondition(target.path.count >= match.name.utf8.count || text.utf8.count > target.path.count)
        }
    }
    if let parameters = try? QueryParameters(target.query) {
        precondition(!target.query.contains(UInt8(ascii: ";")))
        precondition(parameters.values("fromImage").count <= 1 || (try? parameters.value("fromImage")) == nil)
    }
}

/// The input is a method, a target and headers, each on a line, and behind an empty line the body.
func fuzzRequest(_ bytes: [UInt8]) {
    var rest = bytes[...]
    func line() -> String {
        let end = rest.firstIndex(of: 0x0A) ?? rest.endIndex
        defer { rest = rest[end...].dropFirst() }
        return String(decoding: rest[..<end], as: UTF8.self)
    }
    let method = line()
    let target = line()
    var headers: [(name: String, value: String)] = []
    while !rest.isEmpty, rest.first != 0x0A {
        let parts = line().split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        headers.append((String(parts[0]), parts.count > 1 ? String(parts[1]) : ""))
    }
    let body = rest.isEmpty ? nil : Array(rest.dropFirst())
    var request = EngineRequest(method: method, target: target, headers: headers, body: body)
    request.trustsContentLength = true
    request.looksForBuilders = true
    let reading = request.reading(ownPluginName: "docker-ram")
    precondition(request.reading(ownPluginName: "docker-ram") == reading)
    check(reading, of: request)

    // Whoever does not look for builders sees none, and everything else as before.
    var blind = request
    blind.looksForBuilders = false
    let blindReading = blind.reading(ownPluginName: "docker-ram")
    precondition(blindReading == reading || blindReading == .nothing)

    // A request that is told less of can only be refused more.
    var doubted = request
    doubted.trustsContentLength = false
    let doubtedReading = doubted.reading(ownPluginName: "docker-ram")
    if case .notInspected = doubtedReading { return }
    precondition(doubtedReading == reading)
}

private func check(_ reading: EngineRequest.Reading, of request: EngineRequest) {
    switch reading {
    case .nothing, .ownPlugin: break
    case .builder(let container):
        precondition(container.subject.utf8.count <= RegistryContact.longestSubject)
        let sentence = Refusal(.unmanagedBuilder(container.subject), id: DecisionID(), policy: nil).sentence
        precondition(sentence.utf8.count <= Refusal.longest && sentence.utf8.allSatisfy(ASCII.isPrintable))
    case .notInspected(let obstacle):
        let sentence = Refusal(.notInspected(obstacle.description), id: DecisionID(), policy: nil).sentence
        precondition(sentence.utf8.count <= Refusal.longest && sentence.utf8.allSatisfy(ASCII.isPrintable))
    case .accesses(let contacts):
        precondition(!contacts.isEmpty)
        for contact in contacts {
            precondition(contact.subject.utf8.allSatisfy(ASCII.isPrintable))
            precondition((try? RegistryAddress(contact.access.address.description)) == contact.access.address)
        }
        let path = (try? RequestTarget(request.target))?.path ?? []
        if path.elementsEqual("/images/create".utf8) { precondition(!request.mayHoldForm) }
    }
}

private func hexadecimal(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16)
    return digits.count < 2 ? "0\(digits)" : digits
}

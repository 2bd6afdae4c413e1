import Glibc

/// A connection to a Unix socket or to a port of this machine.
struct ClientSocket: Sendable {
    let descriptor: CInt

    /// Connects to a Unix socket.
    ///
    /// - Parameter path: a path, or a name that begins with `@` for an abstract socket.
    init?(connectingTo path: String) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(path.utf8)
        let isAbstract = bytes.first == UInt8(ascii: "@")
        if isAbstract { bytes[0] = 0 }
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard !bytes.isEmpty, bytes.count < capacity else {
            errno = ENAMETOOLONG
            return nil
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        // The length of an abstract name counts; a path ends with a zero.
        let offset = MemoryLayout<sockaddr_un>.size - capacity
        let length = socklen_t(offset + bytes.count + (isAbstract ? 0 : 1))
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, length) }
        }
        guard result == 0 else {
            let code = errno
            Glibc.close(descriptor)
            errno = code
            return nil
        }
        self.descriptor = descriptor
    }

    /// Connects to a port of this machine.
    ///
    /// - Parameter address: an IP address, an IPv6 one in brackets, and a port.
    init?(connectingToPort address: String) {
        guard let colon = address.lastIndex(of: ":") else { return nil }
        let host = address[..<colon].filter { $0 != "[" && $0 != "]" }
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(address[address.index(after: colon)...]), &hints, &found) == 0, let found else {
            return nil
        }
        defer { freeaddrinfo(found) }
        let entry = found.pointee
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(entry.ai_family, kind, 0)
        guard descriptor >= 0 else { return nil }
        guard connect(descriptor, entry.ai_addr, entry.ai_addrlen) == 0 else {
            Glibc.close(descriptor)
            return nil
        }
        self.descriptor = descriptor
    }

    func close() {
        Glibc.close(descriptor)
    }

    func send(_ text: String) -> Bool {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            bytes = bytes.dropFirst(count)
        }
        return true
    }

    /// What became of waiting for bytes.
    enum Received {
        case bytes([UInt8])
        case end
        case timeout
        case failure(CInt)
    }

    /// Waits for the next bytes.
    ///
    /// - Parameter milliseconds: how long at most; negative means for ever.
    /// - Returns: what became of it.
    func receive(within milliseconds: Int32) -> Received {
        var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let ready = poll(&wait, 1, milliseconds)
        if ready == 0 { return .timeout }
        if ready < 0 { return errno == EINTR ? .bytes([]) : .failure(errno) }
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        if count < 0 { return errno == EINTR ? .bytes([]) : .failure(errno) }
        return count == 0 ? .end : .bytes(Array(chunk[..<count]))
    }

    /// Sends a request, and waits for the answer until it is enough, the other side closes, or nothing comes for two
    /// seconds.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - isEnough: gets what has come so far.
    /// - Returns: what has come; nothing if the request could not be sent.
    func answer(to request: String, until isEnough: (String) -> Bool) -> String {
        var answer: [UInt8] = []
        guard send(request) else { return "" }
        while answer.count < 4 << 20 {
            guard case .bytes(let bytes) = receive(within: 2000) else { break }
            answer += bytes
            if isEnough(String(decoding: answer, as: UTF8.self)) { break }
        }
        return String(decoding: answer, as: UTF8.self)
    }
}

import RegistryAccess

/// `proxies` in the engine's `daemon.json` (moby, `daemon/config/config.go`, `Proxies`).
enum DaemonConfigProxies {
    private static let key = "proxies"
    private static let httpProxy = [key, "http-proxy"]
    private static let httpsProxy = [key, "https-proxy"]
    private static let noProxy = [key, "no-proxy"]

    /// What a document says.
    static func settings(in document: JSONFileEdit) -> EngineProxySettings {
        EngineProxySettings(
            httpProxy: document.value(at: httpProxy)?.text.map(Secret.init),
            httpsProxy: document.value(at: httpsProxy)?.text.map(Secret.init),
            noProxy: document.value(at: noProxy)?.text
        )
    }

    /// What a document said before we changed it.
    static func earlierSettings(in document: JSONFileEdit, record: UndoRecord?) -> EngineProxySettings {
        func value(_ path: [String]) -> String? {
            guard let current = document.value(at: path) else { return nil }
            for case .set(path, current, let before, _) in record?.changes ?? [] { return before?.text }
            return current.text
        }
        return EngineProxySettings(
            httpProxy: value(httpProxy).map(Secret.init),
            httpsProxy: value(httpsProxy).map(Secret.init),
            noProxy: value(noProxy)
        )
    }

    /// Insists that a document says it as dockerd reads it.
    static func check(_ document: JSONFileEdit, path: String) throws(UnusableFile) {
        switch document.value(at: [key]) {
        case nil, .null, .object: break
        default: throw UnusableFile(path: path, reason: "\"proxies\" in it is not an object")
        }
        for place in [httpProxy, httpsProxy, noProxy] {
            switch document.value(at: place) {
            case nil, .null, .string: break
            default: throw UnusableFile(path: path, reason: "\"\(place.joined(separator: "."))\" in it is not a text")
            }
        }
    }

    /// Puts all three values into a document.
    ///
    /// - Returns: whether anything changed.
    static func set(_ settings: EngineProxySettings, in edit: inout RecordedEdit) throws -> Bool {
        let count = edit.changes.count
        for (path, value) in [
            (httpProxy, settings.httpProxy?.text), (httpsProxy, settings.httpsProxy?.text), (noProxy, settings.noProxy),
        ] {
            if let value { try edit.set(.string(value), at: path) }
        }
        return edit.changes.count > count
    }

    /// Undoes what an earlier setup put there.
    ///
    /// - Returns: whether anything changed.
    static func takeBack(from edit: inout RecordedEdit, record: UndoRecord?) throws -> Bool {
        let before = edit.document.bytes
        // The last first, so that the object goes with its last member.
        for path in [noProxy, httpsProxy, httpProxy] { try edit.takeBack(path, of: record) }
        return edit.document.bytes != before
    }
}

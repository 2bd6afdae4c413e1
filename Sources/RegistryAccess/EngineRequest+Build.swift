/// Builds (moby, `daemon/server/router/build`, `daemon/internal/builder-next`, `daemon/builder/remotecontext`).
///
/// Only what stands in the query is seen: where the context comes from, images to take the cache from, and images to
/// push. What the Dockerfile names is not.
extension EngineRequest {
    /// `POST /build`.
    func readBuild(_ query: ArraySlice<UInt8>) throws(Obstacle) -> Reading {
        try refuseForm()
        let parameters = try QueryParameters(query)
        var contacts: [RegistryContact] = []
        if let context = try RemoteLocation.buildContext(parameters.value("remote")) {
            contacts.append(context.contact)
        }
        contacts += try Self.syntaxes(parameters)
        contacts += try Self.cacheSources(parameters)
        contacts += try Self.pushes(parameters)
        return contacts.isEmpty ? .nothing : .accesses(contacts)
    }

    /// `buildargs`: a JSON map, of which one member is an image: BuildKit reads the Dockerfile with it, as if the file
    /// began with `# syntax=` (BuildKit, `frontend/dockerfile/builder/build.go`).
    ///
    /// The keys of a map are those of a build, `HTTP_PROXY` beside `http_proxy`, so nothing is folded.
    private static func syntaxes(_ parameters: QueryParameters) throws(Obstacle) -> [RegistryContact] {
        let bytes = try parameters.value("buildargs")
        guard !bytes.isEmpty else { return [] }
        guard let value = try? StrictJSON.parse(bytes, limits: StrictJSON.Limits(foldsKeys: false)) else {
            throw .unreadableParameter("buildargs")
        }
        if value == .null { return [] }
        guard value.members != nil else { throw .unreadableParameter("buildargs") }
        guard let syntax = value.value(named: "BUILDKIT_SYNTAX"), syntax != .null else { return [] }
        guard let text = syntax.text else { throw .unreadableParameter("buildargs") }
        let isSpace = { (byte: UInt8) in byte == UInt8(ascii: " ") || (0x09...0x0D).contains(byte) }
        let name = text.utf8.drop(while: isSpace).prefix { $0 != UInt8(ascii: " ") }
        let end = name.lastIndex { !isSpace($0) }
        guard let end else { return [] }
        return [RegistryContact(.pull, try ImageReference(inRequest: String(Substring(name[...end]))))]
    }

    /// `cachefrom`: a JSON list of image names, which BuildKit joins and splits at commas.
    private static func cacheSources(_ parameters: QueryParameters) throws(Obstacle) -> [RegistryContact] {
        var contacts: [RegistryContact] = []
        for element in try jsonList("cachefrom", parameters) where element != .null {
            guard let text = element.text else { throw .unreadableParameter("cachefrom") }
            for name in text.utf8.split(separator: comma) {
                do throws(InvalidImageReference) {
                    contacts.append(RegistryContact(.pull, try ImageReference(String(Substring(name)))))
                } catch .imageID {
                    // A local image; no registry is asked for it.
                    continue
                } catch {
                    throw .unreadableImage(error)
                }
            }
        }
        return contacts
    }

    /// `outputs`: a JSON list of exporters, of which the image exporter can push.
    private static func pushes(_ parameters: QueryParameters) throws(Obstacle) -> [RegistryContact] {
        var contacts: [RegistryContact] = []
        let tags = parameters.values("t")
        var areTagsNoted = false
        for output in try jsonList("outputs", parameters) where output != .null {
            guard output.members != nil else { throw .unreadableParameter("outputs") }
            let kind = output.requestValue("Type")
            let attributes = output.requestValue("Attrs")
            guard kind == nil || kind?.text != nil, attributes == nil || attributes?.members != nil else {
                throw .unreadableParameter("outputs")
            }
            let saysPush = try saysPush(attributes)
            guard saysPush || kind?.text == "registry" else { continue }
            var names: [String] = []
            if let name = attributes?.value(named: "name") {
                guard let text = name.text else { throw .unreadableParameter("outputs") }
                names = text.utf8.split(separator: comma).map { String(Substring($0)) }
            }
            guard !tags.isEmpty || !names.isEmpty else { throw .nothingNamed }
            // The tags are those of every output. Once is enough: a request holds thousands of both.
            if !areTagsNoted {
                names = tags.map { String(decoding: $0, as: UTF8.self) } + names
                areTagsNoted = true
            }
            for name in names {
                contacts.append(RegistryContact(.push, try ImageReference(inRequest: name)))
            }
        }
        return contacts
    }

    /// BuildKit pushes unless `push` is one of Go's words for false.
    private static func saysPush(_ attributes: JSONValue?) throws(Obstacle) -> Bool {
        guard let push = attributes?.value(named: "push") else { return false }
        guard let text = push.text else { throw .unreadableParameter("outputs") }
        return !["0", "f", "F", "false", "False", "FALSE"].contains(text)
    }

    private static let comma = UInt8(ascii: ",")

    private static func jsonList(_ name: String, _ parameters: QueryParameters) throws(Obstacle) -> [JSONValue] {
        let bytes = try parameters.value(name)
        guard !bytes.isEmpty else { return [] }
        guard let value = try? StrictJSON.parse(bytes) else { throw .unreadableParameter(name) }
        if value == .null { return [] }
        guard let elements = value.elements else { throw .unreadableParameter(name) }
        return elements
    }
}

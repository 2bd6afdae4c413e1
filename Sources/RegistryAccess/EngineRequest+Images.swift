extension ImageReference {
    /// Reads a name in a request, its fault as the obstacle that it is there.
    init(inRequest text: String) throws(Obstacle) {
        do throws(InvalidImageReference) {
            self = try ImageReference(text)
        } catch {
            throw .unreadableImage(error)
        }
    }
}

extension RegistryAddress {
    /// Reads an address in a request, its fault as the obstacle that it is there.
    init(inRequest text: String) throws(Obstacle) {
        do throws(InvalidRegistryAddress) {
            self = try RegistryAddress(text)
        } catch {
            throw .unreadableAddress(error)
        }
    }
}

/// Pulls, imports, pushes, searches and looks at registries (moby, `daemon/server/router/image`, `distribution`).
extension EngineRequest {
    /// `POST /images/create`: a pull if `fromImage` is not empty, else an import from `fromSrc`.
    func readImageCreation(_ query: ArraySlice<UInt8>) throws(Obstacle) -> Reading {
        let parameters = try QueryParameters(query)
        let image = try parameters.text("fromImage")
        let source = try parameters.value("fromSrc")
        let tag = try parameters.text("tag")

        if image.isEmpty, source == [ASCII.hyphen] {
            guard !mayHoldForm else { throw .importFromStream }
            return .nothing
        }
        try refuseHiddenForm()
        guard !image.isEmpty else {
            guard !source.isEmpty else { throw .nothingNamed }
            return .accesses([try RemoteLocation.importSource(source).contact])
        }
        guard source.isEmpty else { throw .pullAndImport }
        return .accesses([try Self.pull(image, tag: tag)])
    }

    /// A pull by name and tag, the tag possibly a digest; `pull --all-tags` of old clients adds a colon to the name.
    private static func pull(_ name: String, tag: String) throws(Obstacle) -> RegistryContact {
        let name = name.utf8.last == ASCII.colon ? String(decoding: name.utf8.dropLast(), as: UTF8.self) : name
        let image = try ImageReference(inRequest: name)
        guard !tag.isEmpty else { return RegistryContact(.pull, image) }

        let tagBytes = Array(tag.utf8)[...]
        let digestSuffix = image.digest.map { "@\($0)" } ?? ""
        let ownSuffix = (image.tag.map { ":\($0)" } ?? "") + digestSuffix
        let suffix: String
        if ImageReference.isDigest(tagBytes) {
            suffix = "@\(tag)"
        } else if ImageReference.isTag(tagBytes) {
            suffix = ":\(tag)" + digestSuffix
        } else {
            throw .unreadableImage(.badFormat)
        }
        let imageName = String(decoding: image.description.utf8.dropLast(ownSuffix.utf8.count), as: UTF8.self)
        return RegistryContact(AccessRequest(.pull, image), subject: imageName + suffix)
    }

    /// `POST /images/{name}/push`: the repository is in the path, only the tag is a parameter.
    func readImagePush(_ name: String) throws(Obstacle) -> Reading {
        try refuseForm()
        return .accesses([RegistryContact(.push, try ImageReference(inRequest: name))])
    }

    /// `GET /distribution/{name}/json`: the engine asks the registry for a manifest.
    func readDistributionInspection(_ name: String) throws(Obstacle) -> Reading {
        .accesses([RegistryContact(.pull, try ImageReference(inRequest: name))])
    }

    /// `GET /images/search`: on the host in front of the first slash, or on Docker Hub.
    ///
    /// Not quite the grammar of an image: an upper-case letter makes no host (moby, `splitReposSearchTerm`).
    func readImageSearch(_ query: ArraySlice<UInt8>) throws(Obstacle) -> Reading {
        let term = try QueryParameters(query).value("term")
        guard let slash = term.firstIndex(of: ASCII.slash) else { return .accesses([.init(.pull, .dockerHub)]) }
        let first = term[..<slash]
        guard first.elementsEqual("localhost".utf8) || first.contains(ASCII.dot) || first.contains(ASCII.colon) else {
            return .accesses([RegistryContact(.pull, .dockerHub)])
        }
        let address = try RegistryAddress(inRequest: String(decoding: first, as: UTF8.self))
        return .accesses([RegistryContact(.pull, address)])
    }

    /// `POST /auth`: the registry is in the body, which most engines withhold.
    func readLogin() throws(Obstacle) -> Reading {
        guard body != nil else { return .nothing }
        let settings = try jsonBody()
        guard settings.members != nil else { throw .unreadableBody }
        let server = try settings.requestText("serveraddress")
        guard !server.isEmpty else { return .accesses([RegistryContact(.login, .dockerHub)]) }
        do throws(InvalidRegistryAddress) {
            return .accesses([RegistryContact(.login, try RegistryAddress(serverURL: server))])
        } catch {
            throw .unreadableAddress(error)
        }
    }
}

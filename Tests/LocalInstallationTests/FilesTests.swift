import Glibc
import LocalInstallation
import TestSupport
import Testing

struct FilesTests {
    @Test("A file is replaced as a whole, with its mode, and nothing is left behind")
    func replace() throws {
        try withTemporaryDirectory { (directory) throws in
            let path = "\(directory)/a"
            try Files.replace(path, with: [1, 2, 3], mode: 0o600)
            try Files.replace(path, with: Array(repeating: 7, count: 1 << 20), mode: 0o640)
            let (bytes, status) = try Files.read(path, atMost: 1 << 20)
            #expect(bytes == Array(repeating: 7, count: 1 << 20))
            #expect(status.mode & 0o777 == 0o640)
            #expect(try entries(directory) == ["a"])
        }
    }

    @Test("What cannot be replaced stays as it was")
    func replaceFails() throws {
        try withTemporaryDirectory { (directory) throws in
            try Files.makeDirectory("\(directory)/a/b")
            #expect(throws: FileError.self) { try Files.replace("\(directory)/a", with: [1], mode: 0o600) }
            #expect(throws: FileError.self) { try Files.replace("\(directory)/none/a", with: [1], mode: 0o600) }
            #expect(try entries(directory) == ["a"])
        }
    }

    @Test("A directory is emptied with all below it, and what links lead to stays")
    func empty() throws {
        try withTemporaryDirectory { (directory) throws in
            try Files.makeDirectory("\(directory)/own/reports/deep")
            try Files.makeDirectory("\(directory)/elsewhere")
            for name in ["own/a", "own/reports/b", "own/reports/deep/c", "elsewhere/d"] {
                try Files.replace("\(directory)/\(name)", with: [1], mode: 0o600)
            }
            #expect(symlink("\(directory)/elsewhere", "\(directory)/own/link") == 0)
            #expect(symlink("\(directory)/elsewhere", "\(directory)/link") == 0)
            try Files.empty("\(directory)/own")
            #expect(try entries("\(directory)/own").isEmpty)
            try Files.empty("\(directory)/none")
            #expect(throws: FileError.self) { try Files.empty("\(directory)/link") }
            #expect(try entries("\(directory)/elsewhere") == ["d"])
        }
    }

    @Test("Reading stops at the limit")
    func limit() throws {
        try withTemporaryDirectory { (directory) throws in
            let path = "\(directory)/a"
            try Files.replace(path, with: [1, 2, 3], mode: 0o600)
            #expect(try Files.read(path, atMost: 3).bytes == [1, 2, 3])
            let error = #expect(throws: FileError.self) { try Files.read(path, atMost: 2) }
            #expect(error?.code == EFBIG)
        }
    }

    @Test("A missing file is told from one that cannot be read")
    func missing() throws {
        try withTemporaryDirectory { (directory) throws in
            let missing = #expect(throws: FileError.self) { try Files.read("\(directory)/a", atMost: 1) }
            #expect(missing?.isNotFound == true)
            #expect("\(missing.map(String.init(describing:)) ?? "")".contains("no such file"))
            let isDirectory = #expect(throws: FileError.self) { try Files.read(directory, atMost: 1) }
            #expect(isDirectory?.isNotFound == false)
        }
    }

    @Test("The state of a file changes with its content")
    func identity() throws {
        try withTemporaryDirectory { (directory) throws in
            let path = "\(directory)/a"
            try Files.replace(path, with: [1], mode: 0o600)
            let before = try Files.status(path).identity
            #expect(try Files.status(path).identity == before)
            try Files.replace(path, with: [2], mode: 0o600)
            #expect(try Files.status(path).identity != before)
        }
    }

    @Test(
        "Where a path lies",
        arguments: [("/a/b", "/a"), ("/a", "/"), ("/", "/"), ("/a/b/c", "/a/b")]
    )
    func directory(of path: String, is directory: String) {
        #expect(Files.directory(of: path) == directory)
    }

    @Test(
        "Paths under a root",
        arguments: [
            ("/", "/etc/docker-ram/policy.json"), ("/x/", "/x/etc/docker-ram/policy.json"),
            ("", "/etc/docker-ram/policy.json"),
        ]
    )
    func paths(root: String, policyFile: String) {
        #expect(InstallationPaths(root: root).policyFile == policyFile)
        #expect(InstallationPaths(environment: ["DOCKER_RAM_ROOT": root]).policyFile == policyFile)
    }

    private func entries(_ directory: String) throws -> [String] {
        let handle = try #require(opendir(directory))
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}

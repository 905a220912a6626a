"""python -m devmesh"""

from devmesh.cli.main import main

if __name__ == "__main__":
    main()

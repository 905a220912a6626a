import { createBrowserRouter } from "react-router";
import { GraphPage } from "./pages/graph/GraphPage";

export const router = createBrowserRouter([{ path: "*", element: <GraphPage /> }]);

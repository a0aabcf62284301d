import { render } from "preact";
import { App } from "./parts/app";
import { findSession } from "./state";
import "./styles/index.css";

const root = document.getElementById("app");
if (root) render(<App />, root);
void findSession();
